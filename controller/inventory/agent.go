package inventory

import (
	"cmp"
	"net"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// Labels of detnet's own pods, and names of their container ports.
const (
	labelName      = "app.kubernetes.io/name"
	labelComponent = "app.kubernetes.io/component"
	portGRPC       = "grpc"
	portReflector  = "reflector"
)

// Agent is a running agent.
type Agent struct {
	Pod  plan.PodID
	UID  types.UID
	Role api.Role
	Node string
	Addr string // host:port of its gRPC listener
	// IP is the host of its session-reflector, IP2 the same of the other family of
	// IP, "" for none, and STAMP the port, 0 for an agent that does not reflect.
	IP, IP2 string
	STAMP   uint16
}

// Absent is an agent that can't be reached yet, or any more.
type Absent struct {
	Pod  plan.PodID
	Role api.Role
	Node string
	Why  string
}

// parseAgent reads one of detnet's own pods; both are zero for one that is no
// agent, one of them for each that is.
func parseAgent(pod *slimPod) (Agent, Absent) {
	a := Agent{Pod: podID(pod), UID: pod.UID, Node: pod.node}
	a.IP, a.IP2 = pod.ip, pod.ip2
	switch pod.Labels[labelComponent] {
	case "agent-probe":
		a.Role = api.Role_ROLE_PROBE
		a.STAMP = workload.STAMPPort
	case "agent-node":
		a.Role = api.Role_ROLE_NODE
	default:
		return Agent{}, Absent{}
	}
	for _, port := range pod.ports {
		switch port.Name {
		case portGRPC:
			a.Addr = net.JoinHostPort(a.IP, strconv.Itoa(int(port.ContainerPort)))
		case portReflector:
			a.STAMP = uint16(port.ContainerPort)
		}
	}
	var why string
	switch {
	case pod.DeletionTimestamp != nil:
		why = "its pod is being deleted"
	case pod.phase != corev1.PodRunning:
		why = "its pod is " + cmp.Or(string(pod.phase), "not started")
	case a.IP == "":
		why = "its pod has no address"
	case a.Addr == "":
		why = "its pod has no port " + portGRPC
	default:
		return a, Absent{}
	}
	return Agent{}, Absent{a.Pod, a.Role, a.Node, why}
}
