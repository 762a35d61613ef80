// Package sandbox runs a real Kubernetes cluster on one Linux host without a
// container engine: nodes that are sets of namespaces with a containerd and a
// kubelet each, a control plane, and uplinks whose capacity tests set.
//
// A program that calls [Up] must call [Reexec] before anything else:
//
//	func TestMain(m *testing.M) {
//		sandbox.Reexec()
//		os.Exit(m.Run())
//	}
package sandbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/detnet/detnet/test/sandbox/assets"
	"github.com/detnet/detnet/test/sandbox/cgroups"
	"github.com/detnet/detnet/test/sandbox/enter"
	"github.com/detnet/detnet/test/sandbox/instance"
	"github.com/detnet/detnet/test/sandbox/pki"
)

// DefaultName is the name of an instance that was given none.
const DefaultName = "detnet"

// Config says what to bring up. The zero value is three nodes called detnet.
type Config struct {
	// Name tells instances apart; several can be up at once.
	Name string
	// Nodes is their number, 1 to 5; 0 means 3.
	Nodes int
	// IPv6First gives nodes, pods and Services addresses of both families, IPv6
	// before IPv4; without it they have IPv4 alone.
	IPv6First bool
	// StartWithin is how long the nodes may take to be ready; 0 means 2 minutes.
	StartWithin time.Duration
	// Images are archives (docker or OCI) to load into every node.
	Images []string
	// Detached leaves the instance up when the calling process ends; without
	// it the instance ends with its caller, however the caller ends.
	Detached bool
	// Log tells what takes time; nil is silent.
	Log *slog.Logger
}

// Cluster is a running instance.
type Cluster struct {
	spec *instance.Spec
	keep *keeperProcess // nil: opened, or detached

	closing  sync.Once
	closeErr error
}

// ErrUnsupported reports that this host can't run a sandbox; see [Require].
var ErrUnsupported = errors.New("the sandbox needs Linux, root and cgroups")

// ErrNotRunning reports that no instance of that name runs.
var ErrNotRunning = instance.ErrNotRunning

// Up brings an instance up and returns when its nodes take pods. Programs that
// are missing in the cache are built first, which takes long once. When Up
// fails or ctx ends before it returns, nothing is left behind.
func Up(ctx context.Context, cfg Config) (*Cluster, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	spec, err := newSpec(cfg)
	if err != nil {
		return nil, err
	}
	if err := spec.Cache.Ensure(ctx, cfg.Log, assets.All); err != nil {
		return nil, fmt.Errorf("build what the sandbox starts: %w", err)
	}
	cfg.Log.Info("starting the cluster", "name", spec.Name, "nodes", spec.Nodes, "logs", spec.LogDir())
	keep, err := startKeeper(ctx, spec, cfg.Detached)
	if err != nil {
		return nil, fmt.Errorf("bring sandbox %s up: %w", spec.Name, err)
	}
	c, err := openSpec(spec)
	if err != nil {
		return nil, errors.Join(err, keep.stop())
	}
	c.keep = keep
	if err := c.LoadImages(ctx, cfg.Images...); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	cfg.Log.Info("the cluster is up", "kubeconfig", c.Kubeconfig())
	return c, nil
}

func newSpec(cfg Config) (*instance.Spec, error) {
	if err := supported(); err != nil {
		return nil, err
	}
	cache, err := assets.Open()
	if err != nil {
		return nil, err
	}
	mountinfo, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	hierarchies, err := cgroups.Parse(string(mountinfo))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	if cfg.Name == "" {
		cfg.Name = DefaultName
	}
	if cfg.Nodes == 0 {
		cfg.Nodes = 3
	}
	spec, err := instance.New(cache, cfg.Name, cfg.Nodes, hierarchies)
	if err != nil {
		return nil, err
	}
	spec.IPv6First = cfg.IPv6First
	spec.StartWithin = cmp.Or(cfg.StartWithin, 2*time.Minute)
	return spec, nil
}

// Open attaches to an instance that runs.
func Open(name string) (*Cluster, error) {
	cache, err := assets.Open()
	if err != nil {
		return nil, err
	}
	return openSpec(&instance.Spec{Name: name, Cache: cache})
}

func openSpec(s *instance.Spec) (*Cluster, error) {
	spec, err := instance.Read(s.File())
	if err != nil {
		return nil, fmt.Errorf("open sandbox %s: %w", s.Name, err)
	}
	if spec.Fabric == 0 || !spec.Kept() {
		return nil, fmt.Errorf("open sandbox %s: %w", s.Name, instance.ErrNotRunning)
	}
	return &Cluster{spec: spec}, nil
}

// Close ends the instance and returns when nothing is left of it.
func (c *Cluster) Close() error {
	c.closing.Do(func() {
		if c.keep != nil {
			c.closeErr = c.keep.stop()
			return
		}
		c.closeErr = c.terminate()
	})
	return c.closeErr
}

// terminate asks a keeper that is not this process's child to end, and waits.
func (c *Cluster) terminate() error {
	if err := unix.Kill(c.spec.Keeper, unix.SIGTERM); err != nil && err != unix.ESRCH {
		return fmt.Errorf("end sandbox %s: %w", c.spec.Name, err)
	}
	for deadline := time.Now().Add(closeTimeout); c.spec.Kept(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("end sandbox %s: its keeper (process %d) has not ended after %s", c.spec.Name, c.spec.Keeper, closeTimeout)
		}
	}
	return nil
}

// Name of the instance.
func (c *Cluster) Name() string { return c.spec.Name }

// Nodes lists the nodes' names in order.
func (c *Cluster) Nodes() []string { return c.spec.NodeNames() }

// IPv6First reports whether addresses are of both families, and IPv6 comes first.
func (c *Cluster) IPv6First() bool { return c.spec.IPv6First }

// Logs is the folder of the instance's logs. It outlives the instance, until
// the next of that name.
func (c *Cluster) Logs() string { return c.spec.LogDir() }

// Kubeconfig is the path of an administrator's kubeconfig that works on the
// host.
func (c *Cluster) Kubeconfig() string { return c.spec.Kubeconfig() }

// NodeKubeconfig is the path of one that works inside the nodes.
func (c *Cluster) NodeKubeconfig() string { return c.spec.Credentials(pki.Admin) }

// RESTConfig is Kubeconfig for client-go.
func (c *Cluster) RESTConfig() (*rest.Config, error) {
	return clientcmd.BuildConfigFromFlags("", c.Kubeconfig())
}

func (c *Cluster) fabric() enter.Target { return enter.Process(c.spec.Fabric) }

// Names lists the running instances.
func Names() ([]string, error) {
	cache, err := assets.Open()
	if err != nil {
		return nil, err
	}
	all, err := instance.Names(cache)
	if err != nil {
		return nil, err
	}
	var running []string
	for _, name := range all {
		if _, err := Open(name); err == nil {
			running = append(running, name)
		}
	}
	return running, nil
}
