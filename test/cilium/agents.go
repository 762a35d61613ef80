// Package cilium runs Cilium's own agent, unmodified, on the nodes of a sandbox
// and shows detnet on it: "make test-cilium". Building the agent takes long once.
package cilium

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/detnet/detnet/test/sandbox"
	"github.com/detnet/detnet/test/sandbox/assets"
	"github.com/detnet/detnet/test/sandbox/instance"
)

// Settings are those of Cilium's ConfigMap, which are the agent's flags.
type Settings map[string]string

// native routes natively, without endpoint routes and with a bandwidth manager
// that enforces: the host firewall, for which there is no policy, has the
// program attached to the native device. IPv6 follows the cluster.
func native(c *sandbox.Cluster) Settings {
	return Settings{
		"enable-ipv4":               "true",
		"enable-ipv6":               strconv.FormatBool(c.IPv6First()),
		"ipam":                      "kubernetes",
		"routing-mode":              "native",
		"ipv4-native-routing-cidr":  instance.IPv4.Cluster.String(),
		"ipv6-native-routing-cidr":  instance.IPv6.Cluster.String(),
		"devices":                   instance.UplinkName,
		"enable-bandwidth-manager":  "true",
		"enable-host-firewall":      "true",
		"kube-proxy-replacement":    "false", // the sandbox has kube-proxy
		"enable-ipv4-masquerade":    "false", // nobody is outside
		"enable-ipv6-masquerade":    "false",
		"enable-l7-proxy":           "false",
		"enable-hubble":             "false",
		"enable-health-checking":    "false",
		"write-cni-conf-when-ready": "/etc/cni/net.d/05-cilium.conflist",
		"cni-exclusive":             "true",
		"cgroup-root":               "/run/cilium/cgroupv2",
		"enable-endpoint-routes":    "false",
	}
}

// Tunnel carries what pods of different nodes say to each other in VXLAN. (Geneve
// is another module of the kernel's, and the same to Cilium's limiter.)
func Tunnel(c *sandbox.Cluster) Settings {
	s := native(c)
	s["routing-mode"], s["tunnel-protocol"] = "tunnel", "vxlan"
	delete(s, "ipv4-native-routing-cidr")
	delete(s, "ipv6-native-routing-cidr")
	return s
}

// programs is where a node has what the agent calls by name.
const programs = "/opt/cilium/bin"

// readyTimeout is long enough for a busy machine to compile every program.
const readyTimeout = 5 * time.Minute

// Agents are the running agents of a cluster.
type Agents struct {
	cluster *sandbox.Cluster
	folder  string // Cilium's programs
	group   *errgroup.Group
	stop    context.CancelFunc
}

// Start gives the cluster Cilium's kinds and starts an agent of a release on every
// node. It returns when Cilium makes the network of new pods.
func Start(ctx context.Context, c *sandbox.Cluster, release assets.Which, settings Settings, log *slog.Logger) (*Agents, error) {
	cache, err := assets.Open()
	if err != nil {
		return nil, err
	}
	if err := cache.Ensure(ctx, log, release); err != nil {
		return nil, fmt.Errorf("build Cilium: %w", err)
	}
	a := &Agents{cluster: c, folder: cache.Cilium(release)}
	if err := a.register(ctx, settings); err != nil {
		return nil, err
	}
	ctx, a.stop = context.WithCancel(ctx)
	a.group, ctx = errgroup.WithContext(ctx) // which ends when an agent does
	for _, node := range c.Nodes() {
		if err := a.prepare(ctx, node); err != nil {
			return nil, errors.Join(err, a.Close())
		}
		if err := a.start(ctx, node, settings); err != nil {
			return nil, errors.Join(err, a.Close())
		}
	}
	for _, node := range c.Nodes() {
		if err := a.awaitReady(ctx, node); err != nil {
			return nil, errors.Join(err, a.Close())
		}
		log.Info("Cilium is ready", "node", node)
	}
	return a, nil
}

// Close ends the agents; what they attached stays, as when a real one restarts.
func (a *Agents) Close() error {
	a.stop()
	return a.group.Wait()
}

// Debug runs cilium-dbg on a node and returns its standard output.
func (a *Agents) Debug(ctx context.Context, node string, args ...string) (string, error) {
	return a.cluster.Exec(ctx, node, filepath.Join(a.folder, "cilium-dbg"), args...)
}

// register applies the kinds, which Cilium's operator would, and the ConfigMap,
// from which others tell how Cilium is set up.
func (a *Agents) register(ctx context.Context, settings Settings) error {
	if _, err := a.cluster.Kubectl(ctx, "apply", "--server-side",
		"-f", filepath.Join(a.folder, "crds", "v2"), "-f", filepath.Join(a.folder, "crds", "v2alpha1")); err != nil {
		return fmt.Errorf("apply Cilium's kinds: %w", err)
	}
	var manifest strings.Builder
	manifest.WriteString("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cilium-config, namespace: kube-system}\ndata:\n")
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&manifest, "  %s: %q\n", key, settings[key])
	}
	return a.cluster.Apply(ctx, manifest.String())
}

// prepare lays out a node's files. The sources of the BPF programs are copied,
// because the agent adds to them.
func (a *Agents) prepare(ctx context.Context, node string) error {
	const script = `set -e
mkdir -p /var/lib/cilium /run/cilium ` + programs + ` /run/net-core
cp -rH "$1/bpf" /var/lib/cilium/
cp "$1/cilium-cni" /opt/cni/bin/
ln -s "$(command -v ` + assets.Clang + `)" ` + programs + `/clang
# Settings of the whole kernel that the agent reads and writes: copies, and
# where a network namespace does not show them, plausible ones.
cp /proc/sys/net/core/* /run/net-core/ 2>/dev/null || true
for setting in default_qdisc=pfifo_fast netdev_max_backlog=1000 bpf_jit_enable=1; do
	echo "${setting#*=}" >"/run/net-core/${setting%=*}"
done
mount --bind /run/net-core /proc/sys/net/core
for setting in kernel/timer_migration kernel/unprivileged_bpf_disabled net/ipv4/tcp_congestion_control; do
	copy=/run/sysctl/$(basename $setting)
	cat /proc/sys/$setting >$copy
	mount --bind $copy /proc/sys/$setting
done`
	if _, err := a.cluster.Exec(ctx, node, "sh", "-c", script, "prepare", a.folder); err != nil {
		return fmt.Errorf("prepare %s for Cilium: %w", node, err)
	}
	return nil
}

// start starts a node's agent, which runs until ctx ends.
func (a *Agents) start(ctx context.Context, node string, settings Settings) error {
	log, err := os.Create(filepath.Join(a.cluster.Logs(), node+"-cilium-agent.log"))
	if err != nil {
		return err
	}
	flags := []string{"--k8s-kubeconfig-path=" + a.cluster.NodeKubeconfig()}
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		flags = append(flags, "--"+key+"="+settings[key])
	}
	cmd := a.cluster.Command(ctx, filepath.Join(a.folder, "cilium-agent"), flags...)
	cmd.Env = append(cmd.Env, "K8S_NODE_NAME="+node, "HOME=/var/lib/cilium", "PATH="+programs+":"+os.Getenv("PATH"))
	cmd.Stdout, cmd.Stderr = log, log
	a.group.Go(func() error {
		defer log.Close()
		err := a.cluster.RunOn(ctx, node, cmd)
		if ctx.Err() != nil {
			return nil // ended by Close, or with another
		}
		return fmt.Errorf("agent of Cilium on %s ended: %w; see %s", node, err, log.Name())
	})
	return nil
}

// awaitReady waits until the agent says that it is healthy and has told
// containerd to call its plugin.
func (a *Agents) awaitReady(ctx context.Context, node string) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return a.cluster.DialFrom(ctx, node, network, addr)
		}}}
	for {
		err := healthy(ctx, &client)
		if err == nil {
			_, err = a.cluster.Exec(ctx, node, "test", "-e", "/etc/cni/net.d/05-cilium.conflist")
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for Cilium on %s: %w (%w); see its log in %s", node, ctx.Err(), err, a.cluster.Logs())
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func healthy(ctx context.Context, client *http.Client) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:9879/healthz", nil)
	if err != nil {
		return err
	}
	request.Header.Set("brief", "true")
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the agent answers %s", response.Status)
	}
	return nil
}
