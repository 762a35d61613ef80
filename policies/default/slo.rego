package detnet

# Each target is the pod's, its namespace's or the class's own; a site's rules
# have the last word.
default slo := {}

slo := object.union_n([object.get(settings, "slo", {}), asked_slo, site_slo]) if protected

asked_slo := {name: input.asks[name] |
	some name in ["maxJitter", "maxLatency", "maxLoss"]
	input.asks[name]
}

default site_slo := {}

site_slo := data.detnet.site.slo

# How to measure: as asked, else by a handshake with the first TCP port the pod
# declares, else by ICMP echo.
default probe := ""

probe := measure if protected

measure := data.detnet.site.probe if data.detnet.site.probe

else := input.asks.probe if input.asks.probe

else := sprintf("tcp:%d", [tcp_ports[0]]) if tcp_ports[0]

else := "icmp"

tcp_ports := [port.containerPort |
	some port in declared_ports
	object.get(port, "protocol", "TCP") == "TCP"
]

declared_ports := [port |
	some container in input.pod.spec.containers
	some port in container.ports
]
