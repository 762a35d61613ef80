// Package instance describes one running sandbox: its name, its folders and
// its addresses. The parts of a sandbox are separate processes; they all read
// the same description from a file.
package instance

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/detnet/detnet/test/sandbox/assets"
	"github.com/detnet/detnet/test/sandbox/cgroups"
)

// APIPort is the API server's.
const APIPort = 6443

// ControlAddr is where the fabric takes orders; only its own network namespace
// reaches it.
const ControlAddr = "127.0.0.1:7070"

// UplinkName is the interface that joins a node to the fabric, as the node sees it.
const UplinkName = "eth0"

// PortName is the other end of node i's uplink, in the fabric's network namespace.
func PortName(i int) string { return fmt.Sprintf("port%d", i) }

// QueueName is the interface in the fabric's network namespace before which waits
// what came from node i, where its uplink is shaped: the node's bottleneck. On the
// node itself Cilium would take it away to put its own queues there.
func QueueName(i int) string { return fmt.Sprintf("uplink%d", i) }

// maxNodes bounds Spec.Nodes.
const maxNodes = 5

// Spec is what every part of an instance needs to know.
type Spec struct {
	Name  string
	Nodes int
	Cache assets.Cache
	// IPv6First gives all addresses of both families, IPv6 before IPv4; without it
	// there is IPv4 alone.
	IPv6First bool `json:",omitempty"`
	// StartWithin is how long the nodes may take to be ready.
	StartWithin time.Duration
	// Cgroups is the instance's branch of the host's cgroup hierarchies.
	Cgroups cgroups.Tree
	// Keeper and Fabric are process ids on the host, APIServer is the address
	// at which the host reaches the API server; known once the instance runs.
	Keeper    int    `json:",omitempty"`
	Fabric    int    `json:",omitempty"`
	APIServer string `json:",omitempty"`
}

var nameForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)

// hidden are the folders that a machine replaces by its own.
var hidden = []string{"/run", "/var/run", "/var/lib", "/var/log", "/tmp", "/etc", "/opt", "/proc", "/sys", "/dev"}

// New checks and returns a description.
func New(cache assets.Cache, name string, nodes int, hierarchies []cgroups.Hierarchy) (*Spec, error) {
	if !nameForm.MatchString(name) {
		return nil, fmt.Errorf("instance name %q: want 1 to 40 of a-z, 0-9 and inner dashes", name)
	}
	if nodes < 1 || nodes > maxNodes {
		return nil, fmt.Errorf("%d nodes: want 1 to %d", nodes, maxNodes)
	}
	for _, h := range hidden {
		if string(cache) == h || strings.HasPrefix(string(cache), h+"/") {
			return nil, fmt.Errorf("cache folder %s: nodes have a %s of their own; point DETNET_CACHE elsewhere", cache, h)
		}
	}
	return &Spec{
		Name: name, Nodes: nodes, Cache: cache,
		Cgroups: cgroups.Tree{Hierarchies: hierarchies, Name: CgroupName(name), Yields: ControlLeaf},
	}, nil
}

// ControlLeaf is the cgroup of the control plane in the instance's branch.
const ControlLeaf = "control"

// CgroupName is the folder of an instance in every cgroup hierarchy.
func CgroupName(name string) string { return "detnet-sandbox-" + name }

// Dir holds the instance's state while it runs.
func Dir(cache assets.Cache, name string) string { return filepath.Join(string(cache), "run", name) }

// Dir holds the instance's state while it runs.
func (s *Spec) Dir() string { return Dir(s.Cache, s.Name) }

// LogDir holds the logs of the latest run; it outlives the instance.
func (s *Spec) LogDir() string { return filepath.Join(string(s.Cache), "log", s.Name) }

// Log is the path of one part's log.
func (s *Spec) Log(part string) string { return filepath.Join(s.LogDir(), part+".log") }

// Disk is where the fabric mounts the memory file system with the control
// plane's and the nodes' disks. It exists in the fabric's mount namespace only.
func (s *Spec) Disk() string { return filepath.Join(s.Dir(), "disk") }

// NodeDisk is what a node keeps over a restart.
func (s *Spec) NodeDisk(i int) string { return filepath.Join(s.Disk(), NodeName(i)) }

// PKI is the folder of certificates, keys and the parts' kubeconfigs.
func (s *Spec) PKI() string { return filepath.Join(s.Dir(), "pki") }

// Credentials is the path of the kubeconfig with which one part (admin, node1,
// kube-proxy, …) reaches the API server from inside the fabric.
func (s *Spec) Credentials(part string) string { return filepath.Join(s.PKI(), part+".kubeconfig") }

// Kubeconfig is the path of the administrator's kubeconfig for the host.
func (s *Spec) Kubeconfig() string { return filepath.Join(s.Dir(), "kubeconfig") }

// Path is the PATH of every process of the instance.
func (s *Spec) Path() string {
	return s.Cache.Bin() + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
}

// NodeName returns the name of node i, counted from 1.
func NodeName(i int) string { return fmt.Sprintf("node%d", i) }

// NodeNames lists the nodes in order.
func (s *Spec) NodeNames() []string {
	names := make([]string, s.Nodes)
	for i := range names {
		names[i] = NodeName(i + 1)
	}
	return names
}

// Index returns i for the name of node i.
func (s *Spec) Index(node string) (int, error) {
	for i, n := range s.NodeNames() {
		if n == node {
			return i + 1, nil
		}
	}
	return 0, fmt.Errorf("no node %q: instance %s has %s", node, s.Name, strings.Join(s.NodeNames(), ", "))
}

// File is where Write puts the description.
func (s *Spec) File() string { return filepath.Join(s.Dir(), "instance.json") }

// Write stores the description in one step.
func (s *Spec) Write() error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	temp := s.File() + ".new"
	if err := os.WriteFile(temp, data, 0o600); err != nil {
		return fmt.Errorf("write the instance's description: %w", err)
	}
	return os.Rename(temp, s.File())
}

// Unit is one thing that runs in the fabric: a program of the control plane or
// a node. The fabric lists them on GET /units at ControlAddr.
type Unit struct {
	Name    string
	Running bool
	// Pid is the unit's first process, as the fabric's /proc shows it.
	Pid int
}

// ErrNotRunning reports that no instance of that name runs.
var ErrNotRunning = errors.New("no such sandbox is running")

// Read returns the description that Write stored.
func Read(file string) (*Spec, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrNotRunning
	}
	if err != nil {
		return nil, fmt.Errorf("read the instance's description: %w", err)
	}
	s := new(Spec)
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("read the instance's description %s: %w", file, err)
	}
	return s, nil
}
