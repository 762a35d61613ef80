package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/detnet/detnet/test/sandbox/enter"
	"github.com/detnet/detnet/test/sandbox/instance"
)

// Dial connects from inside the fabric, which reaches nodes and pods but not
// Services, to an IP address and port.
func (c *Cluster) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return c.fabric().Dial(ctx, network, addr)
}

// DialFrom connects from inside a node, so that nothing crosses its uplink.
func (c *Cluster) DialFrom(ctx context.Context, node, network, addr string) (net.Conn, error) {
	target, err := c.node(ctx, node)
	if err != nil {
		return nil, err
	}
	return target.Dial(ctx, network, addr)
}

// Exec runs a program of the host, or one of the sandbox's (such as ctr), inside
// a node and returns its standard output.
func (c *Cluster) Exec(ctx context.Context, node, program string, args ...string) (string, error) {
	return capture(c.Command(ctx, program, args...), func(cmd *exec.Cmd) error { return c.RunOn(ctx, node, cmd) })
}

// RunOn runs a command inside a node, with its mounts, network, processes and
// cgroups, and waits for it.
func (c *Cluster) RunOn(ctx context.Context, node string, cmd *exec.Cmd) error {
	target, err := c.node(ctx, node)
	if err != nil {
		return err
	}
	return target.Run(cmd)
}

// InNode calls fn on a thread in a node's network. Sockets that fn opens stay there.
func (c *Cluster) InNode(ctx context.Context, node string, fn func() error) error {
	target, err := c.node(ctx, node)
	if err != nil {
		return err
	}
	return target.Net(fn)
}

// Command prepares a program of the sandbox or of the host, with the cluster's
// KUBECONFIG; run it on the host as usual, or in a node with [Cluster.RunOn].
func (c *Cluster) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	if path := filepath.Join(c.spec.Cache.Bin(), program); !strings.Contains(program, "/") {
		if _, err := os.Stat(path); err == nil {
			program = path
		}
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig(), "PATH="+c.spec.Path())
	return cmd
}

// Kubectl runs kubectl on the host and returns its standard output.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	return capture(c.Command(ctx, "kubectl", args...), (*exec.Cmd).Run)
}

// Apply gives manifests to `kubectl apply --server-side`.
func (c *Cluster) Apply(ctx context.Context, manifests string) error {
	cmd := c.Command(ctx, "kubectl", "apply", "--server-side", "-f", "-")
	cmd.Stdin = strings.NewReader(manifests)
	_, err := capture(cmd, (*exec.Cmd).Run)
	return err
}

// Helm runs helm on the host and returns its standard output.
func (c *Cluster) Helm(ctx context.Context, args ...string) (string, error) {
	return capture(c.Command(ctx, "helm", args...), (*exec.Cmd).Run)
}

// LoadImages imports image archives (docker or OCI) into every node. Pods that
// use them set imagePullPolicy Never or IfNotPresent.
func (c *Cluster) LoadImages(ctx context.Context, archives ...string) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, node := range c.Nodes() {
		group.Go(func() error {
			for _, archive := range archives {
				if err := c.loadImage(ctx, node, archive); err != nil {
					return fmt.Errorf("load %s into %s: %w", archive, node, err)
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// loadImage passes the archive as standard input, because a node has a /tmp of
// its own.
func (c *Cluster) loadImage(ctx context.Context, node, archive string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	cmd := c.Command(ctx, "ctr", "--namespace=k8s.io", "images", "import", "-")
	cmd.Stdin = f
	_, err = capture(cmd, func(cmd *exec.Cmd) error { return c.RunOn(ctx, node, cmd) })
	return err
}

// capture runs cmd and returns its standard output; an error carries its
// standard error.
func capture(cmd *exec.Cmd, run func(*exec.Cmd) error) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := run(cmd); err != nil {
		return stdout.String(), fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// node finds the namespaces of a running node.
func (c *Cluster) node(ctx context.Context, name string) (enter.Target, error) {
	if _, err := c.spec.Index(name); err != nil {
		return "", err
	}
	units, err := c.units(ctx)
	if err != nil {
		return "", err
	}
	for _, u := range units {
		if u.Name == name && u.Running {
			return c.fabric().Child(u.Pid), nil
		}
	}
	return "", fmt.Errorf("node %s is stopped", name)
}

func (c *Cluster) units(ctx context.Context) ([]instance.Unit, error) {
	response, err := c.control(ctx, http.MethodGet, "/units")
	if err != nil {
		return nil, err
	}
	var units []instance.Unit
	if err := json.Unmarshal(response, &units); err != nil {
		return nil, fmt.Errorf("read the fabric's list of units: %w", err)
	}
	return units, nil
}
