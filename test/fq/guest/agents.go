package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// program is the agent's own, as it is in its image.
const program = "/detnet-agent"

// fleet is the agents of a node and of the peer's: each a process of its own, on a
// network of its own with the controller, which is in the namespace of this process.
//
//	controller ─ 10.10.0.0/24 ─ node (and, routed, its pods)
//	           ─ 10.10.1.0/24 ─ peer
type fleet struct {
	agents    []inventory.Agent
	server    apiServer
	processes []*exec.Cmd
	own       *host
	links     []string
}

// What agents are called by, and where they are.
const (
	nodeName, peerName       = "node", "peer"
	nodeControl, peerControl = "10.10.0.2", "10.10.1.2"
)

// startFleet runs the node's agent, which measures these pods, and the probing agents of
// the peer and of the node. That one is in the last of the node's pods, where it answers.
func startFleet(ctx context.Context, n *network, measured []corev1.Pod) (_ *fleet, err error) {
	f := &fleet{}
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	if err := f.joinController(n); err != nil {
		return nil, err
	}
	if f.server, err = newAPIServer(ctx, n.node, measured); err != nil {
		return nil, fmt.Errorf("answer in the API server's place: %w", err)
	}
	last := len(n.pods) - 1
	for _, a := range []struct {
		on         *host
		role       string
		is         api.Role
		node, addr string
		more       []string
	}{
		{n.node, "node", api.Role_ROLE_NODE, nodeName, nodeControl + ":9447", nil},
		{n.pods[last], "probe", api.Role_ROLE_PROBE, nodeName, podAddr(last) + ":9443", []string{"--reflector=:862"}},
		{n.peer, "probe", api.Role_ROLE_PROBE, peerName, peerControl + ":9443", nil},
	} {
		if err := f.start(ctx, a.on, append([]string{"--role=" + a.role, "--node-name=" + a.node, "--listen=" + a.addr}, a.more...)); err != nil {
			return nil, err
		}
		if err := reachable(ctx, a.addr); err != nil {
			return nil, err
		}
		agent := inventory.Agent{
			Pod: plan.PodID{Namespace: "detnet", Name: a.role + "-" + a.node}, UID: types.UID(a.role + "-" + a.node),
			Role: a.is, Node: a.node, Addr: a.addr,
		}
		if len(a.more) > 0 {
			agent.IP, agent.STAMP = podAddr(last), workload.STAMPPort
		}
		f.agents = append(f.agents, agent)
	}
	return f, nil
}

// joinController joins the controller and the hosts of agents.
func (f *fleet) joinController(n *network) error {
	current, err := netns.Get()
	if err != nil {
		return err
	}
	f.own = &host{ns: current}
	if f.own.Handle, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return err
	}
	for i, to := range []*host{n.node, n.peer} {
		name, network := fmt.Sprintf("agents%d", i), fmt.Sprintf("10.10.%d.", i)
		if err := join(f.own, name, network+"1/24", to, "control", network+"2/24"); err != nil {
			return err
		}
		f.links = append(f.links, name)
	}
	return f.own.route("10.0.0.0/16", nodeControl)
}

// start runs the agent's program on a host.
func (f *fleet) start(ctx context.Context, on *host, args []string) error {
	cmd := exec.CommandContext(ctx, program, append(args, "--insecure", "--tls-dir=", "--log-level=warn")...)
	cmd.Env = append(f.server.environment(), "PATH=/")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
	if err := on.do(cmd.Start); err != nil { // a process begins in the namespace of the thread that starts it
		return fmt.Errorf("start %s %v: %w", program, args, err)
	}
	f.processes = append(f.processes, cmd)
	return nil
}

// reachable waits for an agent to listen.
func reachable(ctx context.Context, addr string) (err error) {
	dialer := net.Dialer{Timeout: time.Second}
	for range 200 {
		var conn net.Conn
		if conn, err = dialer.DialContext(ctx, "tcp4", addr); err == nil {
			return conn.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("wait for an agent: %w", err)
}

// close ends all of them. Links go with the namespaces only after a while, by when the
// next ones may be there.
func (f *fleet) close() {
	for _, p := range f.processes {
		_ = p.Process.Signal(syscall.SIGTERM)
		_ = p.Wait()
	}
	if f.server.Server != nil {
		f.server.close()
	}
	for _, name := range f.links {
		if link, err := f.own.LinkByName(name); err == nil {
			_ = f.own.LinkDel(link)
		}
	}
	f.own.close()
}

// pod is one of the node's, as the API server has it.
func pod(name, addr string) corev1.Pod {
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(name), ResourceVersion: "1"},
		Spec:       corev1.PodSpec{NodeName: nodeName},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: addr}}},
	}
}
