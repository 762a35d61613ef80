// Package machine is the first process of a node: it makes namespaces look like
// a host of their own and keeps containerd, kubelet and kube-proxy running.
package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/test/sandbox/assets"
	"github.com/detnet/detnet/test/sandbox/instance"
	"github.com/detnet/detnet/test/sandbox/pid1"
)

// What the fabric sends through a machine's gate.
const (
	Plugged  = 'n' // the network is there: containerd may start
	APIReady = 'k' // the API server knows the node: the kubelet may start
)

// Names under which the fabric starts a machine (see Command): as joinArg0 the
// process joins its cgroup, then it becomes RunArg0 inside a cgroup namespace.
const (
	JoinArg0 = "detnet-sandbox-join"
	RunArg0  = "detnet-sandbox-machine"
)

// gateFD is the gate's descriptor in the machine's first process.
const gateFD = 3

const containerdSocket = "/run/containerd/containerd.sock"

// Command is the start of machine i, in namespaces of its own.
func Command(ctx context.Context, s *instance.Spec, i int, gate *os.File) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = []string{JoinArg0, s.File(), strconv.Itoa(i)}
	cmd.ExtraFiles = []*os.File{gate}
	cmd.SysProcAttr = &unix.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		Setsid:     true,
	}
	return cmd
}

// Join moves the calling process into its node's cgroup, makes that the root of
// a new cgroup namespace and starts over as RunArg0. It returns on failure only.
func Join(s *instance.Spec, i int) error {
	if err := s.Cgroups.Join(instance.NodeName(i)); err != nil {
		return err
	}
	// unshare(2) works on the calling thread, and execve(2) from a thread makes
	// it the whole process.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("make a cgroup namespace: %w", err)
	}
	err := unix.Exec("/proc/self/exe", []string{RunArg0, s.File(), strconv.Itoa(i)}, os.Environ())
	return fmt.Errorf("start over: %w", err)
}

// Run is the machine's life; it returns on failure only.
func Run(ctx context.Context, s *instance.Spec, i int, log *slog.Logger) error {
	if err := unix.Sethostname([]byte(instance.NodeName(i))); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	if err := mountAll(s, i); err != nil {
		return err
	}
	logs, err := openLogs(s, i)
	if err != nil {
		return err
	}
	if err := configure(s, i); err != nil {
		return err
	}
	if err := forward(s); err != nil {
		return fmt.Errorf("let the machine forward: %w", err)
	}
	if err := os.Setenv("PATH", s.Path()); err != nil {
		return err
	}
	gate := os.NewFile(gateFD, "gate")
	if err := await(gate, Plugged); err != nil {
		return err
	}
	m := &host{spec: s, index: i, reaper: pid1.New(), log: log, logs: logs}
	ended := make(chan error, len(programs))
	go m.keep(ctx, "containerd", ended)
	if err := m.loadPauseImage(ctx); err != nil {
		return err
	}
	if err := await(gate, APIReady); err != nil {
		return err
	}
	go m.keep(ctx, "kubelet", ended)
	go m.keep(ctx, "kube-proxy", ended)
	return <-ended
}

// forward has the machine route between its pods and the others.
func forward(s *instance.Spec) error {
	settings := []string{"ipv4/ip_forward"}
	if s.IPv6First {
		settings = append(settings, "ipv6/conf/all/forwarding")
	}
	for _, name := range settings {
		if err := os.WriteFile(filepath.Join("/proc/sys/net", name), []byte("1"), 0); err != nil {
			return err
		}
	}
	return nil
}

// await reads the next byte from the gate.
func await(gate io.Reader, want byte) error {
	var got [1]byte
	if _, err := io.ReadFull(gate, got[:]); err != nil {
		return fmt.Errorf("wait for the fabric: %w", err)
	}
	if got[0] != want {
		return fmt.Errorf("the fabric sent %q, want %q", got[0], want)
	}
	return nil
}

// programs are what a node runs.
var programs = []string{"containerd", "kubelet", "kube-proxy"}

func openLogs(s *instance.Spec, i int) (map[string]*os.File, error) {
	logs := map[string]*os.File{}
	for _, p := range programs {
		f, err := os.OpenFile(s.Log(instance.NodeName(i)+"-"+p), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, fmt.Errorf("open a log: %w", err)
		}
		logs[p] = f
	}
	return logs, nil
}

// host keeps a node's programs running.
type host struct {
	spec   *instance.Spec
	index  int
	reaper *pid1.Reaper
	log    *slog.Logger
	logs   map[string]*os.File
}

func (h *host) arguments(program string) []string {
	switch program {
	case "containerd":
		return []string{"--config=/etc/containerd/config.toml"}
	case "kubelet":
		return []string{
			"--config=/etc/kubernetes/kubelet.yaml",
			"--kubeconfig=" + h.spec.Credentials(instance.NodeName(h.index)),
			"--hostname-override=" + instance.NodeName(h.index),
			"--node-ip=" + instance.Addresses(h.spec, func(f instance.Family) netip.Addr { return f.NodeIP(h.index) }),
		}
	case "kube-proxy":
		return []string{"--config=/etc/kubernetes/kube-proxy.yaml"}
	}
	return nil
}

// keep runs a program and starts it again when it ends, as a service manager
// would.
func (h *host) keep(ctx context.Context, program string, failed chan<- error) {
	for {
		cmd := exec.CommandContext(ctx, filepath.Join(h.spec.Cache.Bin(), program), h.arguments(program)...)
		cmd.Stdout, cmd.Stderr = h.logs[program], h.logs[program]
		p, err := h.reaper.Start(cmd)
		if err != nil {
			failed <- fmt.Errorf("start %s: %w", program, err)
			return
		}
		<-p.Done
		h.log.Error("program ended; starting it again", "program", program, "status", p.Err())
		time.Sleep(time.Second)
	}
}

// loadPauseImage waits for containerd and gives it the image of every pod.
func (h *host) loadPauseImage(ctx context.Context) error {
	deadline := time.Now().Add(2 * time.Minute) // on a machine that compiles beside it
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", containerdSocket)
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("wait for containerd: %w; see its log", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	cmd := exec.CommandContext(ctx, "ctr", "--namespace=k8s.io", "images", "import", h.spec.Cache.PauseArchive())
	cmd.Stdout, cmd.Stderr = h.logs["containerd"], h.logs["containerd"]
	if err := h.reaper.Run(cmd); err != nil {
		return errors.Join(fmt.Errorf("import image %s", assets.PauseImage), err)
	}
	return nil
}
