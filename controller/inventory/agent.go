package inventory

import (
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
	// STAMP is the host of its session-reflector and the port; the port is 0
	// for an agent that does not reflect.
	IP    string
	STAMP uint16
}

// parseAgent reads one of detnet's own pods; ok is false for one that is not a
// reachable agent.
func parseAgent(pod *corev1.Pod) (_ Agent, ok bool) {
	a := Agent{Pod: podID(pod), UID: pod.UID, Node: pod.Spec.NodeName, IP: pod.Status.PodIP}
	switch pod.Labels[labelComponent] {
	case "agent-probe":
		a.Role = api.Role_ROLE_PROBE
		a.STAMP = workload.STAMPPort
	case "agent-node":
		a.Role = api.Role_ROLE_NODE
	default:
		return Agent{}, false
	}
	if a.IP == "" || pod.DeletionTimestamp != nil || pod.Status.Phase != corev1.PodRunning {
		return Agent{}, false
	}
	for _, c := range pod.Spec.Containers {
		for _, port := range c.Ports {
			switch port.Name {
			case portGRPC:
				a.Addr = net.JoinHostPort(a.IP, strconv.Itoa(int(port.ContainerPort)))
			case portReflector:
				a.STAMP = uint16(port.ContainerPort)
			}
		}
	}
	return a, a.Addr != ""
}
