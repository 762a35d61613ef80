// Package fabric is the first process of a sandbox: alone in its namespaces it
// joins the machines by a bridge and runs the control plane. When it ends, the
// kernel ends everything in the sandbox.
package fabric

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/detnet/detnet/test/sandbox/instance"
	"github.com/detnet/detnet/test/sandbox/pid1"
	"github.com/detnet/detnet/test/sandbox/pki"
)

// Flags are the namespaces that the fabric's process is started in.
const Flags = unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC

// Run is the fabric's life. It returns when lifeline ends (the keeper is gone)
// or when the sandbox could not be started.
func Run(ctx context.Context, s *instance.Spec, lifeline io.Reader, log *slog.Logger) error {
	if err := s.Cgroups.Join(instance.ControlLeaf); err != nil {
		return err
	}
	if err := prepare(s); err != nil {
		return err
	}
	if err := makeBridge(s); err != nil {
		return err
	}
	units := newUnits(s, pid1.New(), log)
	server := &http.Server{Addr: instance.ControlAddr, Handler: units.handler(), ReadHeaderTimeout: time.Second}

	failed := make(chan error, 3)
	go func() {
		_, err := io.Copy(io.Discard, lifeline)
		failed <- errors.Join(errors.New("the keeper is gone"), err)
	}()
	go func() { failed <- fmt.Errorf("serve control requests: %w", server.ListenAndServe()) }()
	go func() {
		if err := start(ctx, s, units); err != nil {
			failed <- err
		}
	}()
	return <-failed
}

// prepare gives the fabric its own view: its processes, and a memory file
// system that vanishes with it.
func prepare(s *instance.Spec) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := unix.Sethostname([]byte(s.Name)); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	if err := os.MkdirAll(s.Disk(), 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", s.Disk(), "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount the disk: %w", err)
	}
	return os.Setenv("PATH", s.Path())
}

// start brings everything up in the order in which it depends on another.
func start(ctx context.Context, s *instance.Spec, units *units) error {
	for _, name := range append([]string{Etcd, APIServer}, s.NodeNames()...) {
		if err := units.start(ctx, name); err != nil {
			return err
		}
	}
	config, err := clientcmd.BuildConfigFromFlags("", s.Credentials(pki.Admin))
	if err != nil {
		return fmt.Errorf("read the administrator's kubeconfig: %w", err)
	}
	client, err := kubernetes.NewForConfig(rest.AddUserAgent(config, "detnet-sandbox"))
	if err != nil {
		return err
	}
	if err := waitReady(ctx, client, units); err != nil {
		return err
	}
	for i := 1; i <= s.Nodes; i++ {
		if err := createNode(ctx, client, s, i); err != nil {
			return err
		}
	}
	units.releaseKubelets()
	for _, name := range []string{ControllerManager, Scheduler} {
		if err := units.start(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// waitReady asks the API server until it says that it is ready, or until it or
// etcd has ended.
func waitReady(ctx context.Context, client kubernetes.Interface, units *units) error {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		_, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").Timeout(time.Second).DoRaw(ctx)
		if err == nil {
			return nil
		}
		for _, name := range []string{Etcd, APIServer} {
			if !units.running(name) {
				return fmt.Errorf("%s ended while starting; see its log", name)
			}
		}
		<-ticker.C
	}
}

// createNode makes the Node before its kubelet registers, so that it has the
// range of pod addresses that the machine's CNI configuration is written with.
func createNode(ctx context.Context, client kubernetes.Interface, s *instance.Spec, i int) error {
	var cidrs []string
	for _, f := range s.Families() {
		cidrs = append(cidrs, f.PodCIDR(i).String())
	}
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: instance.NodeName(i),
			Labels: map[string]string{
				corev1.LabelHostname: instance.NodeName(i),
				// One machine, one zone: lets tests spread over failure domains.
				corev1.LabelTopologyZone: fmt.Sprintf("zone%d", i),
			},
		},
		Spec: corev1.NodeSpec{PodCIDR: cidrs[0], PodCIDRs: cidrs},
	}
	if _, err := client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create node %s: %w", node.Name, err)
	}
	return nil
}

// openLog opens the log of one part for appending.
func openLog(s *instance.Spec, part string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(s.Log(part)), 0o755); err != nil {
		return nil, err
	}
	return os.OpenFile(s.Log(part), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}
