// Package inventory knows who runs where: critical pods and what they ask for,
// throttleable pods and their limits in force, agents and how to reach them. It
// follows the API server's events. What a pod wears counts only if admission has
// signed it: labels and annotations are the tenant's to write, and the webhook
// may have been away. A change costs what changed: the rest of a Snapshot is that
// of the one before.
package inventory

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/targets"
	"github.com/detnet/detnet/workload"
	"github.com/detnet/detnet/workload/signature"
)

// Inventory follows pods, namespaces, nodes and the webhook's configuration.
type Inventory struct {
	// Webhook is the name of the MutatingWebhookConfiguration that says whom
	// admission is asked about; "" follows none. Set it before Start.
	Webhook string

	client    kubernetes.Interface
	namespace string
	synced    chan struct{}
	keyed     chan struct{} // the keys are known
	onceKeyed sync.Once

	mu         sync.Mutex
	mode       workload.ControlMode
	keys       signature.Keys
	asked      asked // whom admission is asked about
	pods       map[string]*record
	namespaces map[string]namespace
	static     *static
	agents     map[string]Agent
	absent     map[string]Absent
	zones      map[string]string
	marks      map[string]Marks
	misread    map[string][]string // what can't be read, by node

	// short says of the namespaces whose floors come to more than is granted.
	short map[string]string

	snapshot *Snapshot
	changed  map[string]*record // since the snapshot, as they were in it
	stale    stale
	regrant  map[string]bool // namespaces whose raised floors or grant changed since
}

// stale are the small parts of the snapshot that have to be made anew.
type stale struct{ agents, nodes, problems bool }

// record is one pod as it was last seen and what it means.
type record struct {
	pod *slimPod // nil for an endpoint of a static target
	err error    // why its stamps count for nothing; nil if they are admission's
	// settled: admission was asked, and gives the pod, as it is, nothing more.
	settled bool
	meaning
}

// meaning is what one pod is to detnet. App and sender exclude each other.
type meaning struct {
	app       *App
	sender    *Sender
	giveBack  *Sender
	unstamped *Unstamped
	problems  []string
}

// namespace is what counts of one.
type namespace struct {
	labels  labels.Set
	mode    workload.ControlMode // "" states none
	floors  bitrate.Rate         // workload.LabelFloorsAtMost
	problem string
}

// New returns an Inventory that knows nothing until it runs. Agents are pods
// of namespace; mode is the cluster's, which a namespace may only tighten.
func New(client kubernetes.Interface, own string, mode workload.ControlMode) *Inventory {
	return &Inventory{
		client: client, namespace: own, mode: mode,
		synced:     make(chan struct{}),
		keyed:      make(chan struct{}),
		pods:       map[string]*record{},
		namespaces: map[string]namespace{},
		static:     newStatic(targets.Targets{}),
		agents:     map[string]Agent{},
		absent:     map[string]Absent{},
		zones:      map[string]string{},
		marks:      map[string]Marks{},
		misread:    map[string][]string{},
		snapshot:   &Snapshot{},
		changed:    map[string]*record{},
		short:      map[string]string{},
		regrant:    map[string]bool{},
	}
}

// SetMode changes the cluster's mode.
func (inv *Inventory) SetMode(mode workload.ControlMode) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	if inv.mode != mode {
		inv.mode = mode
		inv.again(func(string) bool { return true })
		inv.endpoints()
	}
}

// SetKeys says which signatures count from now on. Nothing is Synced before it
// was called once.
func (inv *Inventory) SetKeys(keys signature.Keys) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	inv.keys = keys
	for _, r := range inv.pods {
		if r.pod != nil {
			r.err = inv.verify(r.pod)
		}
	}
	inv.again(func(string) bool { return true })
	inv.onceKeyed.Do(func() { close(inv.keyed) })
}

// again works out anew what pods mean. It is called with mu held.
func (inv *Inventory) again(which func(key string) bool) {
	for key, r := range inv.pods {
		if r.pod != nil && which(key) {
			inv.put(key, &record{pod: r.pod, err: r.err}, true)
		}
	}
}

// Settle says that admission was asked about a pod and gives it nothing. Until
// its labels or annotations change, or Recheck, it is not Unstamped.
func (inv *Inventory) Settle(u *Unstamped) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	key := u.Pod.String()
	if r := inv.pods[key]; r != nil && r.unstamped == u {
		inv.put(key, &record{pod: r.pod, err: r.err, settled: true}, true)
	}
}

// Recheck forgets what Settle said, since the policy may be another now.
func (inv *Inventory) Recheck() {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	for key, r := range inv.pods {
		if r.settled {
			inv.put(key, &record{pod: r.pod, err: r.err}, true)
		}
	}
}

// verify returns why a pod's stamps count for nothing. It is called with mu held.
func (inv *Inventory) verify(pod *slimPod) error {
	return inv.keys.Verify(pod.Namespace, pod.Labels, pod.Annotations)
}

func (inv *Inventory) setPod(key string, object any) {
	object, _ = slim(object) // which it is already, from the API server; never fails
	pod, _ := object.(*slimPod)
	inv.mu.Lock()
	defer inv.mu.Unlock()
	inv.setAgent(key, pod)
	if pod == nil {
		inv.put(key, nil, false)
		return
	}
	r, same := &record{pod: pod}, false
	if before := inv.pods[key]; before != nil && before.pod.UID == pod.UID && sameStamps(before.pod, pod) {
		r.err, r.settled, same = before.err, before.settled, true // a signature is checked once for each change of what it covers
	} else {
		r.err = inv.verify(pod)
	}
	inv.put(key, r, same)
}

func sameStamps(a, b *slimPod) bool {
	return maps.Equal(a.Labels, b.Labels) && maps.Equal(a.Annotations, b.Annotations)
}

// put stores what a pod is now; nil forgets it. What means the same as before
// keeps its address, so that nothing is done for it: heartbeats cost nothing.
// Stamps that are not the same make an Unstamped a new one. It is called with mu
// held.
func (inv *Inventory) put(key string, r *record, sameStamps bool) {
	before := inv.pods[key]
	if r == nil {
		if before == nil {
			return
		}
		delete(inv.pods, key)
	} else {
		if r.pod != nil {
			r.meaning = inv.meaningOf(r)
		}
		if before != nil {
			r.app, r.sender, r.giveBack = kept(before.app, r.app), kept(before.sender, r.sender), kept(before.giveBack, r.giveBack)
			if sameStamps {
				r.unstamped = kept(before.unstamped, r.unstamped)
			}
		}
		inv.pods[key] = r
	}
	was, is := meaningIn(before), meaningIn(r)
	if !reflect.DeepEqual(was.problems, is.problems) {
		inv.stale.problems = true
	}
	if was.sender != is.sender && (raised(was.sender) || raised(is.sender)) {
		inv.regrant[namespaceOf(key)] = true
	}
	if was.app == is.app && was.sender == is.sender && was.giveBack == is.giveBack && was.unstamped == is.unstamped {
		return
	}
	if _, noted := inv.changed[key]; !noted {
		inv.changed[key] = before
	}
}

func meaningIn(r *record) meaning {
	if r == nil {
		return meaning{}
	}
	return r.meaning
}

// kept is before if after says the same.
func kept[T any](before, after *T) *T {
	if before != nil && after != nil && reflect.DeepEqual(*before, *after) {
		return before
	}
	return after
}

// setAgent is called with mu held.
func (inv *Inventory) setAgent(key string, pod *slimPod) {
	var agent Agent
	var absent Absent
	if pod != nil && pod.Namespace == inv.namespace && pod.Labels[labelName] == "detnet" {
		agent, absent = parseAgent(pod)
	}
	if keep(inv.agents, key, agent) || keep(inv.absent, key, absent) {
		inv.stale.agents = true
	}
}

func (inv *Inventory) setNamespace(key string, object any) {
	var is namespace
	if ns, ok := object.(*corev1.Namespace); ok {
		is.labels = ns.Labels
		is.floors, _ = workload.FloorsAtMost(ns.Labels) // the webhook tells of one that can't be read
		if text := cmp.Or(ns.Annotations[workload.AnnotationMode], ns.Labels[workload.AnnotationMode]); text != "" {
			var err error
			if is.mode, err = workload.ParseControlMode(text); err != nil {
				is.problem = fmt.Sprintf("%s: %v", workload.AnnotationMode, err)
			}
		}
	}
	inv.mu.Lock()
	defer inv.mu.Unlock()
	was := inv.namespaces[key]
	if object == nil {
		delete(inv.namespaces, key)
	} else {
		inv.namespaces[key] = is
	}
	inv.stale.problems = inv.stale.problems || was.problem != is.problem
	if was.floors != is.floors {
		inv.regrant[key] = true
	}
	if was.mode != is.mode || !maps.Equal(was.labels, is.labels) {
		inv.again(func(pod string) bool { return namespaceOf(pod) == key })
	}
}

func (inv *Inventory) setNode(key string, object any) {
	var zone string
	var marks Marks
	var problems []string
	if node, ok := object.(*corev1.Node); ok {
		zone = node.Labels[corev1.LabelTopologyZone]
		marks, problems = marksOf(node)
	}
	inv.mu.Lock()
	defer inv.mu.Unlock()
	zoned, marked := keep(inv.zones, key, zone), keep(inv.marks, key, marks)
	inv.stale.nodes = inv.stale.nodes || zoned || marked
	if slices.Equal(inv.misread[key], problems) {
		return
	}
	inv.stale.problems = true
	if inv.misread[key] = problems; problems == nil {
		delete(inv.misread, key)
	}
}

// keep stores value under key, or forgets a zero one, and reports whether that
// changed anything.
func keep[T comparable](m map[string]T, key string, value T) bool {
	var zero T
	switch {
	case m[key] == value:
		return false
	case value == zero:
		delete(m, key)
	default:
		m[key] = value
	}
	return true
}
