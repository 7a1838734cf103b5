import {expect, it} from 'vitest'
import {functionsIn, strayFunctions} from '../../src/livepatch/frompatch.js'

// As tools/objtool/klp-diff.c prints them.
const LOG = `vmlinux.o: new function: ip_mc_is_looped
vmlinux.o: changed function: ip_mc_finish_output
vmlinux.o: changed function: ip_mc_output
vmlinux.o: changed function: ipmr_rules.part.0
net/ipv4/ipip.o: changed function: ip_mc_output
`

const DIFF = `diff --git a/net/ipv4/ip_output.c b/net/ipv4/ip_output.c
--- a/net/ipv4/ip_output.c
+++ b/net/ipv4/ip_output.c
@@ -350,6 +350,7 @@ static int ip_mc_finish_output(struct net *net, struct sock *sk,
 \tif (new_rt) {
 \t\tnew_rt->rt_iif = 0;
+\t\tnew_rt->dst.input = ip_local_deliver;
 \t\tskb_dst_drop(skb);
@@ -400,0 +402,4 @@ int unrelated(void)
+static bool ip_mc_is_looped(const struct sk_buff *skb)
+{
+}
 int ipmr_rules(struct net *net)
`

it('what klp-build changes and adds is read from its log, each once', () => {
  expect(functionsIn(LOG)).toEqual({changed: ['ip_mc_finish_output', 'ip_mc_output', 'ipmr_rules.part.0'], added: ['ip_mc_is_looped']})
})

it('functions that no hunk is in are told apart; a call in a hunk is none', () => {
  expect(strayFunctions(functionsIn(LOG).changed, DIFF)).toEqual(['ip_mc_output'])
  expect(strayFunctions(['ip_local_deliver', 'skb_dst_drop'], DIFF)).toEqual(['ip_local_deliver', 'skb_dst_drop'])
})
