// SPDX-License-Identifier: GPL-2.0-only
/*
 * livepatch-vrf-lookup.c - let unbound TCP sockets answer a VRF's route leak
 *
 * A packet that a VRF routes to a local address of the default VRF is
 * delivered locally, and then finds no unbound socket: the socket lookup only
 * asks whether the packet came in through a VRF (sdif is set), not where its
 * destination lives.  This module replaces both TCP/IPv4 lookups of
 * net/ipv4/inet_hashtables.c and looks, in this order, for
 *
 *   1. an established socket, as the kernel does,
 *   2. an established unbound socket,
 *   3. a listener, as the kernel does,
 *   4. an unbound listener.
 *
 * 2 and 4 are new.  They happen only while the parameter "enable" is set, for
 * packets of a VRF whose destination is local in the default VRF.  2 comes
 * before 3 or a listener bound to the VRF would take the segments of an
 * unbound connection.
 *
 * The replacements keep no state and share none with the functions they
 * replace, so that it does not matter which CPU runs which during a
 * transition.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/build_bug.h>
#include <linux/filter.h>
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/version.h>
#include <net/inet_hashtables.h>
#include <net/ip_fib.h>
#include <net/l3mdev.h>
#include <net/tcp.h>

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0) && \
	LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
#define NET_CONST const
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(6, 1, 0) && \
	LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
#define NET_CONST
#else
#error "The replaced functions were compared with those of Linux 6.1 and 6.12 only"
#endif

/*
 * An administrator may rely on a VRF not reaching the services of the default
 * VRF, and the kernel's default rules leak all their addresses.
 */
static bool enable;
module_param(enable, bool, 0644);
MODULE_PARM_DESC(enable, "let unbound TCP sockets answer packets that a VRF routes to addresses of the default VRF (default: off)");

/* compute_score() */
static int listener_score(NET_CONST struct net *net, const struct sock *sk,
			  const __be32 daddr, const unsigned short hnum,
			  const int dif, const int sdif)
{
	int score;

	if (!net_eq(sock_net(sk), net) || sk->sk_num != hnum ||
	    ipv6_only_sock(sk) || sk->sk_rcv_saddr != daddr ||
	    !inet_sk_bound_dev_eq(net, sk->sk_bound_dev_if, dif, sdif))
		return -1;

	score = sk->sk_bound_dev_if ? 2 : 1;
	if (sk->sk_family == PF_INET)
		score++;
	if (READ_ONCE(sk->sk_incoming_cpu) == raw_smp_processor_id())
		score++;
	return score;
}

/* inet_lhash2_lookup() with the choice of the bucket */
static struct sock *listener_at(NET_CONST struct net *net,
				struct inet_hashinfo *hashinfo,
				struct sk_buff *skb, int doff,
				const __be32 saddr, const __be16 sport,
				const __be32 daddr, const unsigned short hnum,
				const int dif, const int sdif)
{
	struct inet_listen_hashbucket *ilb2;
	struct sock *sk, *result = NULL;
	struct hlist_nulls_node *node;
	int score, hiscore = 0;

	ilb2 = inet_lhash2_bucket(hashinfo,
				  ipv4_portaddr_hash(net, daddr, hnum));
	sk_nulls_for_each_rcu(sk, node, &ilb2->nulls_head) {
		score = listener_score(net, sk, daddr, hnum, dif, sdif);
		if (score > hiscore) {
			result = inet_lookup_reuseport(net, sk, skb, doff,
						       saddr, sport, daddr,
						       hnum, inet_ehashfn);
			if (result)
				return result;

			result = sk;
			hiscore = score;
		}
	}

	return result;
}

/* The address first, then the wildcard; an ERR_PTR() refuses the packet. */
static struct sock *find_listener(NET_CONST struct net *net,
				  struct inet_hashinfo *hashinfo,
				  struct sk_buff *skb, int doff,
				  const __be32 saddr, const __be16 sport,
				  const __be32 daddr, const unsigned short hnum,
				  const int dif, const int sdif)
{
	struct sock *sk;

	sk = listener_at(net, hashinfo, skb, doff, saddr, sport, daddr, hnum,
			 dif, sdif);
	if (sk)
		return sk;
	return listener_at(net, hashinfo, skb, doff, saddr, sport,
			   htonl(INADDR_ANY), hnum, dif, sdif);
}

/* inet_lookup_run_sk_lookup() of 6.12, inet_lookup_run_bpf() of 6.1 */
static struct sock *find_bpf_listener(NET_CONST struct net *net,
				      struct sk_buff *skb, int doff,
				      const __be32 saddr, const __be16 sport,
				      const __be32 daddr,
				      const unsigned short hnum, const int dif)
{
	struct sock *sk, *reuse_sk;
	bool no_reuseport;

	no_reuseport = bpf_sk_lookup_run_v4(net, IPPROTO_TCP, saddr, sport,
					    daddr, hnum, dif, &sk);
	if (no_reuseport || IS_ERR_OR_NULL(sk))
		return sk;

	reuse_sk = inet_lookup_reuseport(net, sk, skb, doff, saddr, sport,
					 daddr, hnum, inet_ehashfn);
	return reuse_sk ? reuse_sk : sk;
}

/*
 * A local route's dst sits on the VRF device that owns the address, and on
 * the loopback device if none does (ip_rt_get_dev()).  bpf_sk_lookup() has no
 * skb to give and tproxy asks before there is a dst: not leaked, then.
 */
static bool routed_to_default_vrf(const struct sk_buff *skb)
{
	return skb && skb_dst(skb) && !netif_is_l3_master(skb_dst(skb)->dev);
}

static struct sock *
livepatch_inet_lookup_listener(NET_CONST struct net *net,
			       struct inet_hashinfo *hashinfo,
			       struct sk_buff *skb, int doff,
			       const __be32 saddr, __be16 sport,
			       const __be32 daddr, const unsigned short hnum,
			       const int dif, const int sdif)
{
	struct sock *sk = NULL;

	if (static_branch_unlikely(&bpf_sk_lookup_enabled) &&
	    hashinfo == net->ipv4.tcp_death_row.hashinfo)
		sk = find_bpf_listener(net, skb, doff, saddr, sport, daddr,
				       hnum, dif);
	if (!sk)
		sk = find_listener(net, hashinfo, skb, doff, saddr, sport,
				   daddr, hnum, dif, sdif);
	if (!sk && sdif && READ_ONCE(enable) && routed_to_default_vrf(skb))
		sk = find_listener(net, hashinfo, skb, doff, saddr, sport,
				   daddr, hnum, dif, 0);

	return IS_ERR(sk) ? NULL : sk;
}

/* The body of __inet_lookup_established(): a referenced socket or NULL */
static struct sock *find_established(NET_CONST struct net *net,
				     struct inet_hashinfo *hashinfo,
				     const __be32 saddr, const __be16 sport,
				     const __be32 daddr, const u16 hnum,
				     const int dif, const int sdif)
{
	INET_ADDR_COOKIE(acookie, saddr, daddr);
	const __portpair ports = INET_COMBINED_PORTS(sport, hnum);
	unsigned int hash = inet_ehashfn(net, daddr, hnum, saddr, sport);
	unsigned int slot = hash & hashinfo->ehash_mask;
	struct inet_ehash_bucket *head = &hashinfo->ehash[slot];
	const struct hlist_nulls_node *node;
	struct sock *sk;

begin:
	sk_nulls_for_each_rcu(sk, node, &head->chain) {
		if (sk->sk_hash != hash)
			continue;
		if (likely(inet_match(net, sk, acookie, ports, dif, sdif))) {
			if (unlikely(!refcount_inc_not_zero(&sk->sk_refcnt)))
				return NULL;
			if (unlikely(hlist_nulls_unhashed_lockless(&sk->sk_nulls_node) ||
				     !inet_match(net, sk, acookie, ports, dif,
						 sdif))) {
				sock_gen_put(sk);
				goto begin;
			}
			return sk;
		}
	}
	/*
	 * if the nulls value we got at the end of this lookup is
	 * not the expected one, we must restart lookup.
	 * We probably met an item that was moved to another chain.
	 */
	if (get_nulls_value(node) != slot)
		goto begin;
	return NULL;
}

/*
 * The established lookup gets no skb, and early demux asks before the packet
 * is routed, so this routes it: the lookup of ip_route_input_slow() as far as
 * the addresses go.  Its mark and its TOS are not to be had here.
 */
static bool routes_to_default_vrf(struct net *net,
				  const __be32 saddr, const __be16 sport,
				  const __be32 daddr, const u16 hnum,
				  const int dif)
{
	struct flowi4 fl4 = {
		.flowi4_iif = dif,
		.flowi4_scope = RT_SCOPE_UNIVERSE,
		.flowi4_proto = IPPROTO_TCP,
		.flowi4_uid = INVALID_UID,
		.saddr = saddr,
		.daddr = daddr,
		.fl4_sport = sport,
		.fl4_dport = htons(hnum),
	};
	struct fib_result res = {};
	bool leaked = false;

	rcu_read_lock();
	if (!__fib_lookup(net, &fl4, &res, FIB_LOOKUP_NOREF) &&
	    res.type == RTN_LOCAL)
		leaked = !res.fi || !l3mdev_master_dev_rcu(res.nhc->nhc_dev);
	rcu_read_unlock();

	return leaked;
}

static struct sock *
livepatch_inet_lookup_established(NET_CONST struct net *net,
				  struct inet_hashinfo *hashinfo,
				  const __be32 saddr, const __be16 sport,
				  const __be32 daddr, const u16 hnum,
				  const int dif, const int sdif)
{
	struct sock *sk;

	sk = find_established(net, hashinfo, saddr, sport, daddr, hnum, dif,
			      sdif);
	if (sk || !sdif || !READ_ONCE(enable))
		return sk;

	sk = find_established(net, hashinfo, saddr, sport, daddr, hnum, dif, 0);
	/* The routing is looked up only if there is something to decide. */
	if (sk && !routes_to_default_vrf(sock_net(sk), saddr, sport, daddr,
					 hnum, dif)) {
		sock_gen_put(sk);
		sk = NULL;
	}
	return sk;
}

/* klp_func takes a void pointer, so the compiler would not compare these. */
static_assert(__same_type(__inet_lookup_listener,
			  livepatch_inet_lookup_listener));
static_assert(__same_type(__inet_lookup_established,
			  livepatch_inet_lookup_established));

static struct klp_func funcs[] = {
	{
		.old_name = "__inet_lookup_listener",
		.new_func = livepatch_inet_lookup_listener,
	},
	{
		.old_name = "__inet_lookup_established",
		.new_func = livepatch_inet_lookup_established,
	},
	{ }
};

static struct klp_object objs[] = {
	{
		/* no name: vmlinux */
		.funcs = funcs,
	},
	{ }
};

static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = objs,
};

static int __init livepatch_init(void)
{
	return klp_enable_patch(&patch);
}

/* The kernel lets go of the module only after the patch was disabled. */
static void __exit livepatch_exit(void)
{
}

module_init(livepatch_init);
module_exit(livepatch_exit);
MODULE_DESCRIPTION("Livepatch: unbound TCP sockets answer a VRF's route leak");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
