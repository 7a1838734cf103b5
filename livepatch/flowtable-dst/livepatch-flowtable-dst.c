// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mends two bugs of the nftables flowtable in a running kernel. Each has its
 * own parameter, both are on unless told otherwise.
 *
 * stale_mac: a flow that crosses a bridge (FLOW_OFFLOAD_XMIT_DIRECT) keeps a
 * copy of the neighbour's MAC address and drops the route that led to it, so
 * it notices neither a new MAC address nor a new route. Here such a flow keeps
 * the route, and each packet compares: is the route still valid, and has the
 * neighbour still that address? If not, the flow is torn down, the packet
 * takes the normal path, which makes the flow anew. It does so even while it
 * still asks for the neighbour's address; such a flow does not know the bridge
 * port, so it is made anew once more when the address is known.
 *
 * mark_route: the flowtable looks up the route of the other direction, of
 * which it has no packet, with the mark of the packet it has, and forces that
 * packet's input device on it. Where policy routing gives another answer
 * without the mark or without the force, the answer is a guess, and the flow
 * is left on the normal path.
 *
 * A struct flow_offload cannot grow in a running kernel, so the routes are in
 * shadow variables (Documentation/livepatch/shadow-vars.rst).
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/etherdevice.h>
#include <linux/if_arp.h>
#include <linux/jhash.h>
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6.h>
#include <linux/rhashtable.h>
#include <linux/version.h>
#include <net/arp.h>
#include <net/ip.h>
#include <net/ip6_route.h>
#include <net/l3mdev.h>
#include <net/ndisc.h>
#include <net/netfilter/nf_conntrack.h>
#include <net/netfilter/nf_flow_table.h>
#include <net/route.h>

/* The functions below were compared with those of these two lines. */
#define IS_LINE(major, minor)						\
	(LINUX_VERSION_CODE >= KERNEL_VERSION(major, minor, 0) &&	\
	 LINUX_VERSION_CODE < KERNEL_VERSION(major, (minor) + 1, 0))
#if !IS_LINE(6, 1) && !IS_LINE(6, 12)
#error "livepatch-flowtable-dst is written for Linux 6.1 and 6.12"
#endif

static bool stale_mac = true;
module_param(stale_mac, bool, 0444);
MODULE_PARM_DESC(stale_mac, "mend flows that keep an old MAC address or route");

static bool mark_route = true;
module_param(mark_route, bool, 0444);
MODULE_PARM_DESC(mark_route, "mend flows whose other direction is routed with the wrong mark");

/* Written under the lock of the shadow variables. */
static int watched;
module_param(watched, int, 0444);
MODULE_PARM_DESC(watched, "the number of flows whose route is held now (read only)");

/*
 * stale_mac
 */

#define FLOW_DSTS_ID 0x666c6f77

/* What the union in struct flow_offload_tuple has no room for. */
struct flow_dsts {
	struct {
		struct dst_entry *dst;
		u32 cookie;
	} dir[FLOW_OFFLOAD_DIR_MAX];
};

/* Free bits of flow->flags: made without the neighbour's address, by direction. */
#define FLOW_UNRESOLVED 32
/* Made while flows are watched; others are made anew by their next packet. */
#define FLOW_WATCHED (FLOW_UNRESOLVED + FLOW_OFFLOAD_DIR_MAX)
static_assert(FLOW_WATCHED < BITS_PER_LONG);

/*
 * Whether every function is the new one. While some tasks still run the old
 * flow_offload_free_rcu(), a shadow variable could outlive its flow, and be
 * found by the next flow at the same address: none exists in that time.
 */
static bool watching;

static int flow_dsts_init(void *obj, void *shadow_data, void *ctor_data)
{
	memcpy(shadow_data, ctor_data, sizeof(struct flow_dsts));
	watched++;
	return 0;
}

static void flow_dsts_release(void *obj, void *shadow_data)
{
	struct flow_dsts *dsts = shadow_data;

	dst_release(dsts->dir[FLOW_OFFLOAD_DIR_ORIGINAL].dst);
	dst_release(dsts->dir[FLOW_OFFLOAD_DIR_REPLY].dst);
	watched--;
}

static u32 flow_offload_dst_cookie(const struct flow_offload_tuple *flow_tuple,
				   struct dst_entry *dst)
{
	if (flow_tuple->l3proto == NFPROTO_IPV6)
		return rt6_get_cookie(container_of(dst, struct rt6_info, dst));

	return 0;
}

static struct dst_entry *nft_route_dst_fetch(struct nf_flow_route *route,
					     enum flow_offload_tuple_dir dir)
{
	struct dst_entry *dst = route->tuple[dir].dst;

	route->tuple[dir].dst = NULL;

	return dst;
}

static bool is_ethernet(const struct net_device *dev)
{
	return dev->type == ARPHRD_ETHER && dev->addr_len == ETH_ALEN;
}

/* The neighbour that packets of this direction are for, or NULL. */
static struct neighbour *flow_neighbour(const struct flow_offload *flow,
					enum flow_offload_tuple_dir dir,
					struct dst_entry *dst,
					struct net_device *dev)
{
	const struct flow_offload_tuple *back = &flow->tuplehash[!dir].tuple;
	struct rtable *rt;

	if (back->l3proto == NFPROTO_IPV6) {
		struct rt6_info *rt6 = container_of(dst, struct rt6_info, dst);

		return __ipv6_neigh_lookup_noref_stub(dev, rt6_nexthop(rt6, &back->src_v6));
	}

	rt = container_of(dst, struct rtable, dst);
	if (rt->rt_gw_family == AF_INET6)
		return __ipv6_neigh_lookup_noref_stub(dev, &rt->rt_gw6);

	return __ipv4_neigh_lookup_noref(dev, (__force u32)rt_nexthop(rt, back->src_v4.s_addr));
}

/* Whether the MAC address of this direction's neighbour is known. */
static bool flow_is_resolved(const struct flow_offload *flow,
			     enum flow_offload_tuple_dir dir,
			     struct dst_entry *dst)
{
	struct net_device *dev;
	struct neighbour *n;
	bool resolved;

	/* BH because the neighbour tables of 6.1 are read in that way. */
	rcu_read_lock_bh();
	dev = READ_ONCE(dst->dev);
	resolved = !is_ethernet(dev);
	if (!resolved) {
		n = flow_neighbour(flow, dir, dst, dev);
		resolved = n && READ_ONCE(n->nud_state) & NUD_VALID;
	}
	rcu_read_unlock_bh();

	return resolved;
}

/* As it was, but the route of a DIRECT flow goes to @dsts, and see FLOW_UNRESOLVED. */
static void flow_offload_fill_route(struct flow_offload *flow,
				    struct nf_flow_route *route,
				    enum flow_offload_tuple_dir dir,
				    struct flow_dsts *dsts)
{
	struct flow_offload_tuple *flow_tuple = &flow->tuplehash[dir].tuple;
	struct dst_entry *dst = nft_route_dst_fetch(route, dir);
	int i, j = 0;

	switch (flow_tuple->l3proto) {
	case NFPROTO_IPV4:
		flow_tuple->mtu = ip_dst_mtu_maybe_forward(dst, true);
		break;
	case NFPROTO_IPV6:
		flow_tuple->mtu = ip6_dst_mtu_maybe_forward(dst, true);
		break;
	}

	flow_tuple->iifidx = route->tuple[dir].in.ifindex;
	for (i = route->tuple[dir].in.num_encaps - 1; i >= 0; i--) {
		flow_tuple->encap[j].id = route->tuple[dir].in.encap[i].id;
		flow_tuple->encap[j].proto = route->tuple[dir].in.encap[i].proto;
		if (route->tuple[dir].in.ingress_vlans & BIT(i))
			flow_tuple->in_vlan_ingress |= BIT(j);
		j++;
	}
	flow_tuple->encap_num = route->tuple[dir].in.num_encaps;

	switch (route->tuple[dir].xmit_type) {
	case FLOW_OFFLOAD_XMIT_DIRECT:
		memcpy(flow_tuple->out.h_dest, route->tuple[dir].out.h_dest,
		       ETH_ALEN);
		memcpy(flow_tuple->out.h_source, route->tuple[dir].out.h_source,
		       ETH_ALEN);
		flow_tuple->out.ifidx = route->tuple[dir].out.ifindex;
		flow_tuple->out.hw_ifidx = route->tuple[dir].out.hw_ifindex;
		dsts->dir[dir].dst = dst;
		dsts->dir[dir].cookie = flow_offload_dst_cookie(flow_tuple, dst);
		break;
	case FLOW_OFFLOAD_XMIT_NEIGH:
		if (!flow_is_resolved(flow, dir, dst))
			__set_bit(FLOW_UNRESOLVED + dir, &flow->flags);
		fallthrough;
	case FLOW_OFFLOAD_XMIT_XFRM:
		flow_tuple->dst_cache = dst;
		flow_tuple->dst_cookie = flow_offload_dst_cookie(flow_tuple, dst);
		break;
	default:
		WARN_ON_ONCE(1);
		break;
	}
	flow_tuple->xmit_type = route->tuple[dir].xmit_type;
}

static void livepatch_flow_offload_route_init(struct flow_offload *flow,
					      struct nf_flow_route *route)
{
	struct flow_dsts dsts = {};

	flow_offload_fill_route(flow, route, FLOW_OFFLOAD_DIR_ORIGINAL, &dsts);
	flow_offload_fill_route(flow, route, FLOW_OFFLOAD_DIR_REPLY, &dsts);
	flow->type = NF_FLOW_OFFLOAD_ROUTE;
	if (READ_ONCE(watching))
		__set_bit(FLOW_WATCHED, &flow->flags);

	if (!dsts.dir[FLOW_OFFLOAD_DIR_ORIGINAL].dst &&
	    !dsts.dir[FLOW_OFFLOAD_DIR_REPLY].dst)
		return;

	/* A flow that cannot be watched is torn down by its first packet. */
	if (!READ_ONCE(watching) ||
	    !klp_shadow_alloc(flow, FLOW_DSTS_ID, sizeof(dsts), GFP_ATOMIC,
			      flow_dsts_init, &dsts)) {
		dst_release(dsts.dir[FLOW_OFFLOAD_DIR_ORIGINAL].dst);
		dst_release(dsts.dir[FLOW_OFFLOAD_DIR_REPLY].dst);
	}
}
static_assert(__same_type(livepatch_flow_offload_route_init,
			  flow_offload_route_init));

/* Whether the MAC address that the flow keeps is the one to send to now. */
static bool flow_mac_is_current(const struct flow_offload *flow,
				enum flow_offload_tuple_dir dir,
				struct dst_entry *dst)
{
	struct net_device *dev = READ_ONCE(dst->dev);
	u8 ha[MAX_ADDR_LEN] __aligned(2);
	struct neighbour *n;

	/* PPPoE: the address is the session's peer, not a neighbour. */
	if (!is_ethernet(dev))
		return true;

	n = flow_neighbour(flow, dir, dst, dev);
	if (!n)
		return false;

	/*
	 * The normal path uses the neighbour with each packet, which is what
	 * makes the kernel ask now and then whether it is still there. A host
	 * that changes its address in silence is found out by that only.
	 */
	neigh_event_send(n, NULL);
	if (!(READ_ONCE(n->nud_state) & NUD_VALID))
		return false;

	neigh_ha_snapshot(ha, n, dev);
	return ether_addr_equal(ha, flow->tuplehash[dir].tuple.out.h_dest);
}

static bool flow_is_current(struct flow_offload *flow,
			    enum flow_offload_tuple_dir dir)
{
	const struct flow_offload_tuple *flow_tuple = &flow->tuplehash[dir].tuple;
	struct flow_dsts *dsts;
	bool is_current = false;

	switch (flow_tuple->xmit_type) {
	case FLOW_OFFLOAD_XMIT_DIRECT:
		rcu_read_lock_bh();
		dsts = klp_shadow_get(flow, FLOW_DSTS_ID);
		if (dsts && dst_check(dsts->dir[dir].dst, dsts->dir[dir].cookie))
			is_current = flow_mac_is_current(flow, dir, dsts->dir[dir].dst);
		rcu_read_unlock_bh();
		return is_current;
	case FLOW_OFFLOAD_XMIT_NEIGH:
		return likely(!test_bit(FLOW_UNRESOLVED + dir, &flow->flags)) ||
		       !flow_is_resolved(flow, dir, flow_tuple->dst_cache);
	default:
		return true;
	}
}

static u32 flow_offload_hash(const void *data, u32 len, u32 seed)
{
	const struct flow_offload_tuple *tuple = data;

	return jhash(tuple, offsetof(struct flow_offload_tuple, __hash), seed);
}

static int flow_offload_hash_cmp(struct rhashtable_compare_arg *arg,
				 const void *ptr)
{
	const struct flow_offload_tuple *tuple = arg->key;
	const struct flow_offload_tuple_rhash *x = ptr;

	if (memcmp(&x->tuple, tuple, offsetof(struct flow_offload_tuple, __hash)))
		return 1;

	return 0;
}

/* What a lookup needs of nf_flow_table_core.c's parameters. */
static const struct rhashtable_params nf_flow_offload_rhash_params = {
	.head_offset		= offsetof(struct flow_offload_tuple_rhash, node),
	.hashfn			= flow_offload_hash,
	.obj_cmpfn		= flow_offload_hash_cmp,
	.automatic_shrinking	= true,
};

/* Flows of tc (act_ct) are made by others, and know nothing of routes. */
static bool flow_is_old(const struct flow_offload *flow)
{
	return flow->type == NF_FLOW_OFFLOAD_ROUTE &&
	       !test_bit(FLOW_WATCHED, &flow->flags);
}

/*
 * Has the packet that is at hand make the flow anew.
 *
 * flow_offload_teardown() would also cut the timeout of the conntrack entry:
 * in 6.12 to nothing, where the flow was made before a reply was seen, and the
 * NAT mapping would go with the entry. The packet is on its way to conntrack,
 * which sets the timeout itself. (If it does not get there, the entry keeps
 * the long timeout of an offloaded one.) TCP has a window to give up as well.
 */
static void flow_renew(struct flow_offload *flow)
{
	if (nf_ct_protonum(flow->ct) != IPPROTO_UDP) {
		flow_offload_teardown(flow);
		return;
	}
	if (!test_and_set_bit(NF_FLOW_TEARDOWN, &flow->flags))
		clear_bit(IPS_OFFLOAD_BIT, &flow->ct->status);
}

/* Every packet of a flow comes through here, before it is changed. */
static struct flow_offload_tuple_rhash *
livepatch_flow_offload_lookup(struct nf_flowtable *flow_table,
			      struct flow_offload_tuple *tuple)
{
	struct flow_offload_tuple_rhash *tuplehash;
	struct flow_offload *flow;
	int dir;

	tuplehash = rhashtable_lookup(&flow_table->rhashtable, tuple,
				      nf_flow_offload_rhash_params);
	if (!tuplehash)
		return NULL;

	dir = tuplehash->tuple.dir;
	flow = container_of(tuplehash, struct flow_offload, tuplehash[dir]);
	if (test_bit(NF_FLOW_TEARDOWN, &flow->flags))
		return NULL;

	if (unlikely(nf_ct_is_dying(flow->ct)))
		return NULL;

	if (READ_ONCE(watching) &&
	    (flow_is_old(flow) || !flow_is_current(flow, dir))) {
		flow_renew(flow);
		return NULL;
	}

	return tuplehash;
}
static_assert(__same_type(livepatch_flow_offload_lookup, flow_offload_lookup));

static void livepatch_flow_offload_free_rcu(struct rcu_head *rcu_head)
{
	struct flow_offload *flow = container_of(rcu_head, struct flow_offload, rcu_head);

	/*
	 * Before the conntrack entry: a network namespace that goes waits for
	 * its conntrack entries, and the routes must be released by then.
	 */
	klp_shadow_free(flow, FLOW_DSTS_ID, flow_dsts_release);
	nf_ct_put(flow->ct);
	kfree(flow);
}
static_assert(__same_type(&livepatch_flow_offload_free_rcu, (rcu_callback_t)NULL));

/* Flows of the old functions are torn down; their next packets make new ones. */
static void flush_flows(struct klp_object *obj)
{
	nf_flow_table_cleanup(NULL);
}

static void start_watching(struct klp_object *obj)
{
	WRITE_ONCE(watching, true);
}

/* Before the first task goes back to the old functions, which free no shadow. */
static void stop_watching(struct klp_object *obj)
{
	WRITE_ONCE(watching, false);
	/* Now nobody is in livepatch_flow_offload_route_init() who still read true. */
	synchronize_rcu();
	klp_shadow_free_all(FLOW_DSTS_ID, flow_dsts_release);
	WARN_ON(watched);
}

/*
 * mark_route
 *
 * nft_flow_route() has the packet, but is static and large. It is the only
 * caller of nf_route() that sets FLOWI_FLAG_ANYSRC: by that it is told from
 * xt_TCPMSS and nft_rt, and for those nothing changes.
 */

static bool same_route(const struct dst_entry *a, const struct dst_entry *b,
		       const struct flowi *fl, unsigned short family)
{
	if (a->dev != b->dev)
		return false;

	if (family == NFPROTO_IPV6) {
		const struct in6_addr *daddr = &fl->u.ip6.daddr;

		return ipv6_addr_equal(rt6_nexthop(container_of(a, struct rt6_info, dst), daddr),
				       rt6_nexthop(container_of(b, struct rt6_info, dst), daddr));
	} else {
		const struct rtable *rt_a = container_of(a, struct rtable, dst);
		const struct rtable *rt_b = container_of(b, struct rtable, dst);

		if (rt_a->rt_gw_family != rt_b->rt_gw_family)
			return false;
		if (rt_a->rt_gw_family == AF_INET6)
			return ipv6_addr_equal(&rt_a->rt_gw6, &rt_b->rt_gw6);
		return rt_nexthop(rt_a, fl->u.ip4.daddr) == rt_nexthop(rt_b, fl->u.ip4.daddr);
	}
}

static int route(struct net *net, struct dst_entry **dst, struct flowi *fl,
		 bool strict, unsigned short family)
{
	switch (family) {
	case AF_INET:
		return nf_ip_route(net, dst, fl, strict);
	case AF_INET6:
		return nf_ip6_route(net, dst, fl, strict);
	}

	return 0;
}

/* Whether another way to ask leads to the same place; a lookup changes @fl. */
static bool leads_to(struct net *net, const struct dst_entry *dst,
		     struct flowi fl, unsigned short family)
{
	struct dst_entry *other = NULL;
	bool same;

	route(net, &other, &fl, false, family);
	if (!other)
		return false;

	same = same_route(dst, other, &fl, family);
	dst_release(other);
	return same;
}

/* Whether the route @dst that was found for @fl is more than a guess. */
static bool route_is_certain(struct net *net, const struct dst_entry *dst,
			     const struct flowi *fl, unsigned short family)
{
	struct flowi unforced = *fl, unmarked = *fl;
	struct net_device *in;
	bool leaves_by_in = false;

	rcu_read_lock();
	in = dev_get_by_index_rcu(net, fl->flowi_oif);
	if (in) {
		/* In a VRF the packet's device is the VRF, the route's is not. */
		leaves_by_in = dst->dev == in ||
			       (netif_is_l3_master(in) &&
				l3mdev_master_ifindex_rcu(dst->dev) == in->ifindex);
		unforced.flowi_oif = l3mdev_master_ifindex_rcu(in);
	}
	rcu_read_unlock();
	unmarked.flowi_mark = 0;

	return leaves_by_in && leads_to(net, dst, unforced, family) &&
	       (!fl->flowi_mark || leads_to(net, dst, unmarked, family));
}

static int livepatch_nf_route(struct net *net, struct dst_entry **dst,
			      struct flowi *fl, bool strict,
			      unsigned short family)
{
	struct flowi asked = *fl;
	int ret;

	ret = route(net, dst, fl, strict, family);
	if (ret || !(asked.flowi_flags & FLOWI_FLAG_ANYSRC))
		return ret;

	if (*dst && !route_is_certain(net, *dst, &asked, family)) {
		dst_release(*dst);
		*dst = NULL;
		return -EHOSTUNREACH;
	}

	return ret;
}
static_assert(__same_type(livepatch_nf_route, nf_route));

/* The last, empty entry ends the list; the one before it may be filled in. */
static struct klp_func flow_table_funcs[] = {
	{
		.old_name = "flow_offload_route_init",
		.new_func = livepatch_flow_offload_route_init,
	}, {
		.old_name = "flow_offload_lookup",
		.new_func = livepatch_flow_offload_lookup,
	}, {
		.old_name = "flow_offload_free_rcu",
		.new_func = livepatch_flow_offload_free_rcu,
	}, { }, { }
};

static struct klp_func nf_route_funcs[] = {
	{
		.old_name = "nf_route",
		.new_func = livepatch_nf_route,
	}, { }
};

static struct klp_object objs[3];

static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = objs,
};

static int __init livepatch_flowtable_dst_init(void)
{
	struct klp_object *obj = objs;

	if (stale_mac) {
		/* NULL is vmlinux. */
		obj->name = IS_BUILTIN(CONFIG_NF_FLOW_TABLE) ? NULL : "nf_flow_table";
		obj->funcs = flow_table_funcs;
		obj->callbacks.post_patch = start_watching;
		obj->callbacks.pre_unpatch = stop_watching;
		obj++;
	}
	if (mark_route && stale_mac && IS_BUILTIN(CONFIG_NF_FLOW_TABLE)) {
		/* One object, one list. */
		flow_table_funcs[ARRAY_SIZE(flow_table_funcs) - 2] = nf_route_funcs[0];
	} else if (mark_route) {
		obj->funcs = nf_route_funcs;
		/* With stale_mac, each old flow is made anew by its own packet. */
		if (!stale_mac)
			obj->callbacks.post_patch = flush_flows;
		obj++;
	}
	if (obj == objs) {
		pr_err("both parameters are off: nothing to mend\n");
		return -EINVAL;
	}

	/*
	 * What an earlier instance left that was replaced by a livepatch with
	 * .replace set: the callbacks of a replaced one are not called.
	 */
	klp_shadow_free_all(FLOW_DSTS_ID, flow_dsts_release);
	watched = 0;

	return klp_enable_patch(&patch);
}

static void __exit livepatch_flowtable_dst_exit(void)
{
}

module_init(livepatch_flowtable_dst_init);
module_exit(livepatch_flowtable_dst_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Flowtable: notice a changed MAC address or route, and routes that depend on the mark");
MODULE_INFO(livepatch, "Y");
