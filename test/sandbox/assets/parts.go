package assets

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Versions of what the sandbox starts. Change one and only that part is built
// anew.
const (
	KubernetesVersion = "v1.36.3"
	etcdVersion       = "v3.6.16"
	containerdVersion = "v2.2.9"
	cniVersion        = "v1.9.1"
	helmVersion       = "v4.3.1"
)

// ciliumVersions are the releases of Cilium's that detnet is tried on.
var ciliumVersions = map[Which]string{Cilium119: "v1.19.5", Cilium120: "v1.20.2"}

//go:embed pause/main.go.txt
var pauseSource string

// part is one upstream release: a module and the commands that are built from
// it.
type part struct {
	name    string
	module  string // empty: the part is source, not a module
	version string
	source  string
	folder  string // below the cache: bin or cni
	tags    string
	ldflags string
	// staged says that the module requires its siblings at v0.0.0, as
	// k8s.io/kubernetes does, and that sibling v0.N.P belongs to its v1.N.P.
	staged bool
	// forked says that the module replaces others by forks of its own, whose
	// checksums its go.sum vouches for.
	forked bool
	// instead are modules that are taken in another version than the module asks for,
	// which the module proxy does not serve.
	instead  map[string]string
	which    Which
	commands []command
}

type command struct {
	name string
	path string // below the module
	tree bool   // a folder of the module's sources, copied instead of built
}

// key names the part's folder in the cache. It changes with everything that
// changes the binaries, except the Go toolchain.
func (p part) key() string {
	recipe := []string{p.module, p.version, p.source, p.tags, p.ldflags}
	for _, path := range slices.Sorted(maps.Keys(p.instead)) {
		recipe = append(recipe, path, p.instead[path])
	}
	sum := sha256.Sum256([]byte(strings.Join(recipe, "\x00")))
	return fmt.Sprintf("%s-%s-%s", p.name, p.version, hex.EncodeToString(sum[:4]))
}

func commands(prefix string, names ...string) []command {
	var cs []command
	for _, n := range names {
		path := prefix + "/" + n
		cs = append(cs, command{name: path[strings.LastIndexByte(path, '/')+1:], path: path})
	}
	return cs
}

func kubernetesFlags(version string) string {
	const x = " -X k8s.io/component-base/version."
	major, rest, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	return "-s -w" + x + "gitVersion=" + version + x + "gitMajor=" + major + x + "gitMinor=" + minor
}

// parts lists everything, in the order in which it is built.
func parts() []part {
	return []part{
		{
			name: "etcd", module: "go.etcd.io/etcd/server/v3", version: etcdVersion, folder: "bin",
			ldflags:  "-s -w",
			commands: []command{{name: "etcd"}},
		},
		{
			name: "kubernetes", module: "k8s.io/kubernetes", version: KubernetesVersion, folder: "bin", staged: true,
			ldflags: kubernetesFlags(KubernetesVersion),
			commands: commands("/cmd", "kube-apiserver", "kubectl", "kube-controller-manager", "kube-scheduler",
				"kubelet", "kube-proxy"),
		},
		{
			name: "containerd", module: "github.com/containerd/containerd/v2", version: containerdVersion, folder: "bin",
			tags:     "no_btrfs,no_devmapper,no_zfs",
			ldflags:  "-s -w -X github.com/containerd/containerd/v2/version.Version=" + strings.TrimPrefix(containerdVersion, "v"),
			commands: commands("/cmd", "containerd", "containerd-shim-runc-v2", "ctr"),
		},
		{
			name: "cni", module: "github.com/containernetworking/plugins", version: cniVersion, folder: "cni",
			ldflags:  "-s -w",
			commands: commands("/plugins", "main/ptp", "main/loopback", "ipam/host-local"),
		},
		{
			name: "pause", version: "v1", source: pauseSource, folder: "bin",
			ldflags:  "-s -w",
			commands: []command{{name: "pause"}},
		},
		{
			name: "helm", module: "helm.sh/helm/v4", version: helmVersion, folder: "bin",
			ldflags:  "-s -w -X helm.sh/helm/v4/internal/version.version=" + helmVersion,
			commands: commands("/cmd", "helm"),
		},
		ciliumPart(Cilium119),
		ciliumPart(Cilium120),
	}
}

// insteadOf holds what some releases of Cilium's are built with: gobgp, which they
// ask for by a commit that is not served, and which nothing here uses.
var insteadOf = map[Which]map[string]string{Cilium120: {"github.com/osrg/gobgp/v4": "v4.7.0"}}

// ciliumPart is a release of Cilium's, in a folder of its own.
func ciliumPart(which Which) part {
	version := ciliumVersions[which]
	return part{
		name: "cilium", module: "github.com/cilium/cilium", version: version, folder: "cilium/" + version, forked: true,
		which: which, tags: "osusergo", instead: insteadOf[which],
		ldflags: "-s -w -X github.com/cilium/cilium/pkg/version.ciliumVersion=" + strings.TrimPrefix(version, "v"),
		commands: []command{
			{name: "cilium-agent", path: "/daemon"},
			{name: "cilium-cni", path: "/plugins/cilium-cni"},
			{name: "cilium-dbg", path: "/cilium-dbg"},
			{name: "bpf", path: "/bpf", tree: true}, // compiled by the agent, on its node
			{name: "crds", path: "/pkg/k8s/apis/cilium.io/client/crds", tree: true},
		},
	}
}

// has reports whether a command belongs to what is asked for.
func (w Which) has(p part, cmd command) bool {
	if w == APIServer {
		return apiServerOnly[cmd.name]
	}
	return p.which == w
}

// apiServerOnly is what a test needs that talks to an API server and to nothing
// else: the three programs that controller-runtime's envtest looks for.
var apiServerOnly = map[string]bool{"etcd": true, "kube-apiserver": true, "kubectl": true}
