// SPDX-License-Identifier: GPL-2.0-only
/*
 * ipmr-loopback: a forwarded multicast packet that is looped back to local
 * receivers must not be forwarded a second time.
 *
 * If the group is joined on the output device, ip_mc_output() loops a clone of
 * the forwarded packet back, so that it is delivered there. ip_mr_input() would
 * tell such a clone by IPSKB_FORWARDED, but ip_rcv_core() clears the control
 * block on the way. So the clone is forwarded again if a route takes it, and
 * with a route back to the same device that goes on until the TTL is used up.
 *
 * The clone keeps its route, though, and ip_mc_finish_output() makes that
 * route private to the clone. This replacement has the private route of a
 * forwarded multicast packet lead to ip_local_deliver() instead of
 * ip_mr_input().
 *
 * Apart from that it is ip_mc_finish_output() as 6.1.192 and 6.12.117 have it
 * (the function is the same in both).
 */

#include <linux/bpf-cgroup.h>
#include <linux/build_bug.h>
#include <linux/kernel.h>
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <linux/version.h>
#include <net/dst.h>
#include <net/ip.h>
#include <net/route.h>

#define LINE_IS(major, minor) \
	(LINUX_VERSION_CODE >= KERNEL_VERSION(major, minor, 0) && \
	 LINUX_VERSION_CODE < KERNEL_VERSION(major, minor + 1, 0))

#if !LINE_IS(6, 1) && !LINE_IS(6, 12)
#error "ip_mc_finish_output() was compared with 6.1 and 6.12 only"
#endif

static int livepatch_ip_mc_finish_output(struct net *net, struct sock *sk,
					 struct sk_buff *skb)
{
	struct rtable *rt = skb_rtable(skb);
	struct rtable *new_rt;
	bool do_cn = false;
	bool forwarded;
	int ret, err;

	ret = BPF_CGROUP_RUN_PROG_INET_EGRESS(sk, skb);
	switch (ret) {
	case NET_XMIT_CN:
		do_cn = true;
		fallthrough;
	case NET_XMIT_SUCCESS:
		break;
	default:
		kfree_skb_reason(skb, SKB_DROP_REASON_BPF_CGROUP_EGRESS);
		return ret;
	}

	/*
	 * ip_forward() sets IPSKB_FORWARDED as well, and broadcast comes
	 * through here too: only multicast is forwarded by ip_mr_input().
	 */
	forwarded = (IPCB(skb)->flags & IPSKB_FORWARDED) &&
		    (rt->rt_flags & RTCF_MULTICAST);

	/*
	 * Reset rt_iif so that inet_iif() will return skb->skb_iif. Setting
	 * this to non-zero causes ipi_ifindex in in_pktinfo to be overwritten,
	 * see ipv4_pktinfo_prepare().
	 */
	new_rt = rt_dst_clone(net->loopback_dev, rt);
	if (new_rt) {
		new_rt->rt_iif = 0;
		/*
		 * The packet may still wait in the backlog, with this route,
		 * when the module is unloaded: no livepatch transition waits
		 * for it. So dst.input has to point into vmlinux, never to a
		 * function of the module.
		 */
		if (forwarded)
			new_rt->dst.input = ip_local_deliver;
		skb_dst_drop(skb);
		skb_dst_set(skb, &new_rt->dst);
	} else if (forwarded) {
		/*
		 * With the shared route the clone would be forwarded again:
		 * the loop must not come back when memory is short.
		 */
		kfree_skb_reason(skb, SKB_DROP_REASON_NOMEM);
		return -ENOBUFS;
	}

	err = dev_loopback_xmit(net, sk, skb);
	return (do_cn && err) ? ret : err;
}

/*
 * klp_func takes a void pointer, so the compiler does not compare the types.
 * ip_mc_finish_output() is static and has no prototype to compare with, but
 * it is passed to NF_HOOK() as okfn, the type that ip_mc_output() has too.
 */
static_assert(__same_type(livepatch_ip_mc_finish_output, ip_mc_output));

static struct klp_func funcs[] = {
	{
		.old_name = "ip_mc_finish_output",
		.new_func = livepatch_ip_mc_finish_output,
	},
	{ }
};

static struct klp_object objs[] = {
	{
		/* No name: the function is in vmlinux. */
		.funcs = funcs,
	},
	{ }
};

static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = objs,
};

static int __init livepatch_ipmr_loopback_init(void)
{
	return klp_enable_patch(&patch);
}

/* A livepatch is disabled in sysfs; without an exit it could not be removed. */
static void __exit livepatch_ipmr_loopback_exit(void)
{
}

module_init(livepatch_ipmr_loopback_init);
module_exit(livepatch_ipmr_loopback_exit);
MODULE_DESCRIPTION("Forwarded multicast that is looped back is delivered, not forwarded again");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
