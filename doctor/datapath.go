package doctor

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/detnet/detnet/controller/hostrouting"
)

// datapath is what limits traffic on the nodes, as far as the API server knows.
type datapath struct {
	cilium  cilium  // nil: none
	agents  bool    // detnet's own enforce
	reads   bool    // they may read what pods' own ends count
	calico  version // of Calico's agents; zero: none
	version version // of Cilium's agents; zero: unknown
	kernels map[string]version
}

// version is the first two or three numbers of one.
type version [3]int

func (v version) String() string { return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2]) }

func (v version) below(major, minor, patch int) bool {
	return slices.Compare(v[:], []int{major, minor, patch}) < 0
}

var numbers = regexp.MustCompile(`(\d+)\.(\d+)(?:\.(\d+))?`)

// parseVersion reads the first version in a text, such as a kernel's release or the
// tag of an image. Zero: there is none.
func parseVersion(text string) (v version) {
	for i, n := range numbers.FindStringSubmatch(text) {
		if i > 0 {
			v[i-1], _ = strconv.Atoi(n) //nolint:gosec // there are three; a missing patch is 0
		}
	}
	return v
}

// What the kernel and other limiters must be, with the source of each.
var (
	calicoFollows = version{3, 30, 0} // Calico's release notes: QoS controls
	bandsSince    = version{6, 7, 0}  // sch_fq: three bands
	edtSince      = version{5, 10, 0} // Cilium's system requirements
	netkitSince   = version{6, 8, 0}  // Cilium's system requirements
	timesKept     = version{5, 18, 0} // skb_clear_tstamp: TCP's time of departure outlives a tunnel
)

// problem says what makes limits fail, and what to do about it.
func (d datapath) problem() (problem, advice string) {
	follows := d.calico != (version{}) && !d.calico.below(calicoFollows[0], calicoFollows[1], calicoFollows[2])
	switch {
	case d.agents && d.cilium.on("enable-bandwidth-manager"):
		return "both Cilium's bandwidth manager and the agents enforce: each pod is limited twice", "helm upgrade with --set agent.enforce=off"
	case d.agents && follows:
		return fmt.Sprintf("Calico %v follows the limits by itself, and the agents enforce them: each pod is limited twice", d.calico), "helm upgrade with --set agent.enforce=off"
	case follows && d.cilium.on("enable-bandwidth-manager"):
		return fmt.Sprintf("both Calico %v and Cilium's bandwidth manager follow the limits: each pod is limited twice", d.calico), "turn off Cilium's bandwidth manager (bandwidthManager.enabled=false)"
	case d.agents || follows:
		return "", ""
	case d.cilium == nil:
		return "nobody follows the limits: there is no Cilium and the agents do not enforce", "helm upgrade with --set agent.enforce=tc"
	}
	if problem, advice = d.cilium.limits(); problem != "" {
		return problem, advice
	}
	if old := d.older(edtSince); old != "" {
		return "Cilium's bandwidth manager needs kernel 5.10 or later: " + old, "upgrade these nodes, or set agent.enforce=tc and turn the bandwidth manager off"
	}
	if mode := d.cilium["datapath-mode"]; !d.reads && (strings.HasPrefix(mode, netkit) || mode == auto && d.cilium.hostRouting() && d.haveNetkit()) {
		return fmt.Sprintf("what pods send is not known under Cilium's datapath mode %s, so limits go by what they may send: it is counted in the pods alone, which the agents may not read", mode), "helm upgrade with --set agent.netkit=true"
	}
	return "", ""
}

// Cilium's datapath modes that join pods by netkit begin with its name, and auto is one of them where host routing is BPF's and
// the kernel has it.
const (
	netkit = "netkit"
	auto   = "auto"
)

// haveNetkit reports whether a node's kernel has what Cilium needs for it.
func (d datapath) haveNetkit() bool {
	for _, v := range d.kernels {
		if !v.below(netkitSince[0], netkitSince[1], netkitSince[2]) {
			return true
		}
	}
	return false
}

// notes are what whoever sets targets has to know of this cluster.
func (d datapath) notes() (notes []string) {
	add := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	switch {
	case d.agents:
		return nil
	case d.cilium == nil:
		add("Calico %v enforces; detnet was tried on Cilium and with agent.enforce=tc", d.calico)
		return notes
	case d.version == version{}:
		add("the version of Cilium is not known from its DaemonSet; 1.19.5 and 1.20.2 were tried")
	case d.version.below(1, 19, 0) || !d.version.below(1, 21, 0):
		add("Cilium %v was not tried with detnet; 1.19.5 and 1.20.2 were", d.version)
	}
	if d.cilium.hostRouting() {
		to := ""
		if d.cilium.on("enable-wireguard") {
			to = " that leaves the cluster"
		}
		add("after each change of a limit a pod with many flows of UDP%s may send more than before for up to two seconds (what waits goes on at the old rate)", to)
		if where := hostrouting.Untried(d.cilium); where != "" {
			add("Cilium routes past the nodes' IP stacks %s, too, where detnet's law was not tried: it changes limits as under legacy host routing, by way of low ones, and each change costs a pod half a second of its rate", where)
		}
	} else {
		notes = append(notes, d.cilium.legacy())
	}
	add("limits hold where traffic leaves the node, not between pods of one node")
	if old := d.older(bandsSince); old != "" {
		add("bandwidth.cilium.io/priority needs kernel 6.7 or later and does nothing on older ones: %s", old)
	} else {
		add("a guaranteed packet may wait for 64 KiB of others at the rate of the link: 2.6 ms at 200 Mbit/s, 0.5 ms at 1 Gbit/s; targets below that cannot be kept by priority alone")
	}
	if d.cilium.on("enable-wireguard") {
		notes = append(notes, d.encrypted()...)
	}
	if mode := d.cilium["datapath-mode"]; !hostrouting.Tried(mode) {
		add("datapath mode %s was not tried with detnet", mode)
	} else if mode == auto && !d.reads {
		add("datapath mode auto joins pods by netkit where the kernel has it (6.8 or later) and host routing is BPF's, and what they send is not known there: set agent.netkit=true")
	}
	if note := d.cilium.chain(); note != "" {
		add("%s", note)
	}
	if !d.cilium.hostRouting() && d.cilium["routing-mode"] == "native" {
		add("under legacy host routing with native routing limits on what pods receive do not hold")
	}
	return notes
}

// legacy is what a limit means under legacy host routing. What is encapsulated for pods of
// other nodes goes to the tunnel's device at once, and so is as under BPF host routing.
func (c cilium) legacy() string {
	to := ""
	if c.on("enable-wireguard") {
		to = " and leaves the cluster"
	}
	note := "after each change of a limit a pod may send more than before, with TCP for some 0.3 s and with UDP for up to two seconds (what waits goes on at the old rate); UDP of few flows that offers more than its limit" + to +
		" gets far less than it; under Cilium's BPF host routing (kubeProxyReplacement and bpf.masquerade) neither is so, but for many flows of UDP"
	if protocol := c["tunnel-protocol"]; to == "" && c["routing-mode"] != "native" && (protocol == "" || protocol == "vxlan") {
		note += ", nor is it so in VXLAN to pods of other nodes"
	}
	return note
}

// encrypted is what WireGuard means for limits between nodes: it clears the times of departure
// of all that is not TCP of the kernel's.
func (d datapath) encrypted() []string {
	tcp := ""
	if d.cilium.hostRouting() {
		tcp = ", some 0.1 s after a change"
	}
	notes := []string{"under WireGuard limits hold TCP back" + tcp + ", and UDP to other nodes only once it has sent two seconds of its limit in advance, anew after each change of the limit: targets cannot be kept beside such UDP (docs/cilium.md, WireGuard)"}
	if old := d.older(timesKept); old != "" {
		notes = append(notes, "under WireGuard kernels before 5.18 clear TCP's times of departure, too, by their sources (cilium/cilium#22203): "+old)
	}
	return notes
}

// chain is what is not known of the CNI's configuration on the nodes, where not Cilium
// alone decides it: whether the bandwidth plugin is there.
func (c cilium) chain() string {
	const twice = "if it has the bandwidth plugin too, each pod is limited twice, and the plugin's limit stays what it was as the pod began; take it out"
	switch mode := c["cni-chaining-mode"]; {
	case mode != "" && mode != "none":
		return fmt.Sprintf("Cilium is chained to another CNI (%s), and what is in the chain is not known here: %s", mode, twice)
	case c.on("custom-cni-conf"):
		return "the nodes' CNI configuration is not Cilium's own (custom-cni-conf), and is not known here; look into /etc/cni/net.d of a node: " + twice
	case c["cni-exclusive"] == "false":
		return "Cilium leaves other CNI configurations in place (cni-exclusive=false), and the first by name counts, which is not known here; look into /etc/cni/net.d of a node: " + twice
	}
	return ""
}

// older names the nodes with a kernel before since; empty: none.
func (d datapath) older(since version) string {
	const most = 5
	var nodes []string
	for name, v := range d.kernels {
		if v != (version{}) && v.below(since[0], since[1], since[2]) {
			nodes = append(nodes, fmt.Sprintf("%s has %v", name, v))
		}
	}
	slices.Sort(nodes)
	if more := len(nodes) - most; more > 0 {
		nodes = append(nodes[:most], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(nodes, ", ")
}

// getDatapath gathers it. What may not be read stays unknown.
func getDatapath(ctx context.Context, c client.Client, agent appsv1.DaemonSet) (d datapath, err error) {
	for _, container := range agent.Spec.Template.Spec.Containers {
		d.agents = d.agents || slices.Contains(container.Args, "--enforce=tc")
		if may := container.SecurityContext; may != nil && may.Capabilities != nil {
			d.reads = d.reads || slices.Contains(may.Capabilities.Add, "NET_ADMIN")
		}
	}
	if d.cilium, err = getCilium(ctx, c); err != nil {
		return d, err
	}
	d.version = imageVersion(ctx, c, "cilium", metav1.NamespaceSystem)
	d.calico = imageVersion(ctx, c, "calico-node", metav1.NamespaceSystem, "calico-system")
	var nodes corev1.NodeList
	if err := c.List(ctx, &nodes); err != nil {
		return d, fmt.Errorf("list nodes: %w", err)
	}
	d.kernels = make(map[string]version, len(nodes.Items))
	for _, n := range nodes.Items {
		d.kernels[n.Name] = parseVersion(n.Status.NodeInfo.KernelVersion)
	}
	return d, nil
}

// imageVersion is that of a DaemonSet's containers in the first namespace that has
// it; zero where none tells, as with an image by digest.
func imageVersion(ctx context.Context, c client.Client, name string, namespaces ...string) version {
	for _, namespace := range namespaces {
		var ds appsv1.DaemonSet
		if c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &ds) != nil {
			continue
		}
		for _, container := range ds.Spec.Template.Spec.Containers {
			_, image, _ := strings.Cut(container.Image[strings.LastIndexByte(container.Image, '/')+1:], ":")
			image, _, _ = strings.Cut(image, "@")
			if v := parseVersion(image); v != (version{}) {
				return v
			}
		}
	}
	return version{}
}
