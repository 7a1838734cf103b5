{% let flowtable_devices = fw4.resolve_offload_devices(); %}
table inet fw4
flush table inet fw4
{% if (length(flowtable_devices) > 0): %}
delete flowtable inet fw4 ft
{% endif %}

table inet fw4 {
{% if (length(flowtable_devices) > 0): %}
	flowtable ft {
		hook ingress priority 0;
		devices = { "lan1", "wan" };
		counter;
	}
{% endif %}

	chain forward {
		type filter hook forward priority filter; policy drop;

{% if (length(flowtable_devices) > 0): %}
		meta l4proto { tcp, udp } flow offload @ft;
{% endif %}
		ct state vmap { established : accept, related : accept } comment "!fw4: Handle forwarded flows"
		iifname "br-lan" accept
	}

	chain srcnat {
		type nat hook postrouting priority srcnat; policy accept;
		oifname "wan" masquerade
	}
}
