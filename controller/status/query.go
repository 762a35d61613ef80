package status

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/detnet/detnet/controller/plan"
)

// Query asks for a part of a status. The zero Query asks for all of it.
type Query struct {
	Node      string // what is on it, and its uplink
	Namespace string // the pods in it, and what concerns them
	Pod       string // "namespace/name": it, and what concerns it
	// Limit is the most of each list, and of the limits of one decision; 0: all. Page
	// counts parts of that size, from 0.
	Limit, Page int
}

// Bounds of a Query.
const (
	MaxLimit = 1000
	maxPage  = 1_000_000
	longest  = 317 // octets of a namespace, a slash and a name
)

// ParseQuery reads the parameters node, namespace, pod, limit and page of an URL; others
// are not its own.
func ParseQuery(v url.Values) (Query, error) {
	q := Query{Node: v.Get("node"), Namespace: v.Get("namespace"), Pod: v.Get("pod")}
	for name, text := range map[string]string{"node": q.Node, "namespace": q.Namespace, "pod": q.Pod} {
		if len(text) > longest {
			return Query{}, fmt.Errorf("%s: %d octets are more than the %d of any name", name, len(text), longest)
		}
	}
	if q.Pod != "" && !strings.Contains(q.Pod, "/") {
		return Query{}, fmt.Errorf("pod: %q must be NAMESPACE/NAME", q.Pod)
	}
	for name, number := range map[string]struct {
		to   *int
		most int
	}{"limit": {&q.Limit, MaxLimit}, "page": {&q.Page, maxPage}} {
		text := v.Get(name)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > number.most {
			return Query{}, fmt.Errorf("%s: %.20q must be a whole number from 0 to %d", name, text, number.most)
		}
		*number.to = n
	}
	if q.Page > 0 && q.Limit == 0 {
		return Query{}, fmt.Errorf("page: %d takes a limit from 1 to %d", q.Page, MaxLimit)
	}
	return q, nil
}

// Values are the parameters that ParseQuery reads.
func (q Query) Values() url.Values {
	v := url.Values{}
	for name, text := range map[string]string{"node": q.Node, "namespace": q.Namespace, "pod": q.Pod} {
		if text != "" {
			v.Set(name, text)
		}
	}
	for name, n := range map[string]int{"limit": q.Limit, "page": q.Page} {
		if n != 0 {
			v.Set(name, strconv.Itoa(n))
		}
	}
	return v
}

// Totals are how many there are of each of what a Query asked for, before its limit.
type Totals struct {
	Apps      int `json:"apps"`
	Violated  int `json:"violated"` // of them
	Blind     int `json:"blind"`    // likewise
	Senders   int `json:"senders"`
	Reasons   int `json:"reasons"`
	Agents    int `json:"agents"`
	Connected int `json:"connected"` // of them
	Problems  int `json:"problems"`
	// Uncontrolled are the senders that can't be limited or send more than their limit.
	Uncontrolled int `json:"uncontrolled"`
}

// Troubles are what somebody should look at, of what a Query asked for: the first of each
// up to its limit, whatever its page.
type Troubles struct {
	Agents   []Agent   `json:"agents"`  // that do not report
	Senders  []Sender  `json:"senders"` // that can't be limited or send more than their limit
	Problems []Problem `json:"problems"`
}

// Select returns the part that q asks for: s itself for the zero Query, else with Totals
// and Troubles.
// Of apps those in violation come first, then the blind ones; of senders those that can't
// be limited or send more than their limit; of agents those that do not report. It does not change s.
func (s *Status) Select(q Query) *Status {
	if q == (Query{}) || !s.Leader || s.Totals != nil { // of what was asked for already, there is no more
		return s
	}
	out, t, node := *s, Totals{}, q.node(s)
	concerns := func(pod, on string) bool {
		return (q.Pod == "" || pod == q.Pod) && (q.Namespace == "" || within(pod, q.Namespace)) && (q.Node == "" || on == q.Node)
	}
	about := func(r *Reason) bool {
		return (q.Pod == "" || r.App == q.Pod || r.For == q.Pod || r.Bottleneck == plan.Cluster || r.Bottleneck == node) &&
			(q.Namespace == "" || within(r.App, q.Namespace) || within(r.For, q.Namespace)) &&
			(q.Node == "" || r.Bottleneck == plan.Uplink(q.Node) || r.Bottleneck == plan.Cluster)
	}
	out.Apps, t.Apps = chosen(s.Apps, q, func(a *App) (bool, int) {
		if !concerns(a.Pod, a.Node) {
			return false, 0
		}
		return true, trouble(a.State, &t)
	})
	sender := func(p *Sender) (asked bool, rank int) {
		if p.uncontrolled() {
			return concerns(p.Pod, p.Node), 0
		}
		return concerns(p.Pod, p.Node), 1
	}
	problem := func(p *Problem) (asked bool, rank int) { return q.names(p.Object), 0 }
	out.Senders, t.Senders = chosen(s.Senders, q, sender)
	out.Reasons, t.Reasons = chosen(s.Reasons, q, func(r *Reason) (bool, int) { return about(r), 0 })
	out.Problems, t.Problems = chosen(s.Problems, q, problem)
	out.Agents, t.Agents = chosen(s.Agents, q, func(a *Agent) (bool, int) {
		on := q.Node == "" || a.Node == q.Node
		if on && a.Connected {
			t.Connected++
			return on, 1
		}
		return on, 0
	})
	out.Decisions, _ = chosen(s.Decisions, q.first(), func(d *Decision) (bool, int) { return q.decided(d, about), 0 })
	for i := range out.Decisions {
		if limits := out.Decisions[i].Limits; q.Limit > 0 && len(limits) > q.Limit {
			out.Decisions[i].Limits = limits[:q.Limit]
		}
	}
	troubles := Troubles{}
	troubles.Agents, _ = chosen(s.Agents, q.first(), func(a *Agent) (bool, int) { return !a.Connected && (q.Node == "" || a.Node == q.Node), 0 })
	troubles.Senders, t.Uncontrolled = chosen(s.Senders, q.first(), func(p *Sender) (bool, int) { return p.uncontrolled() && concerns(p.Pod, p.Node), 0 })
	troubles.Problems, _ = chosen(s.Problems, q.first(), problem)
	out.Totals, out.Troubles = &t, &troubles
	out.NoNode, out.NoNamespace = missing(q.Node, s.nodes), missing(q.Namespace, s.namespaces)
	return &out
}

func (p *Sender) uncontrolled() bool { return p.Refused != "" || p.OverLimit != "" }

// trouble counts the state of an app, and orders it among the others.
func trouble(state string, t *Totals) int {
	switch state {
	case Violated:
		t.Violated++
		return 0
	case Blind:
		t.Blind++
		return 1
	}
	return 2
}

// ranks is one more than the highest that a list may be ordered by.
const ranks = 3

// chosen are those of a list that are asked for, by rank and else in their order, as far
// as they are on the page; and how many there are.
func chosen[T any](all []T, q Query, of func(*T) (asked bool, rank int)) ([]T, int) {
	var byRank [ranks][]int
	n := 0
	for i := range all {
		if asked, rank := of(&all[i]); asked {
			byRank[rank] = append(byRank[rank], i)
			n++
		}
	}
	first, last := 0, n
	if q.Limit > 0 {
		first = min(q.Page*q.Limit, n)
		last = min(first+q.Limit, n)
	}
	out, at := make([]T, 0, last-first), 0
	for _, list := range byRank {
		for _, i := range list {
			if at >= first && at < last {
				out = append(out, all[i])
			}
			at++
		}
	}
	return out, n
}

// node is the uplink of the pod that is asked for.
func (q Query) node(s *Status) plan.Bottleneck {
	if q.Pod == "" {
		return plan.Bottleneck{}
	}
	for i := range s.Apps {
		if s.Apps[i].Pod == q.Pod {
			return plan.Uplink(s.Apps[i].Node)
		}
	}
	for i := range s.Senders {
		if s.Senders[i].Pod == q.Pod {
			return plan.Uplink(s.Senders[i].Node)
		}
	}
	return plan.Bottleneck{}
}

// Names are the first of some names, in order, and how many more there are.
type Names struct {
	First []string `json:"first"`
	More  int      `json:"more,omitempty"`
}

// mostNames is what a line holds.
const mostNames = 12

// missing is what is known in place of name; nil if name is known, or nothing was asked for.
func missing(name string, known func() map[string]bool) *Names {
	if name == "" {
		return nil
	}
	all := known()
	if all[name] {
		return nil
	}
	first := slices.Sorted(maps.Keys(all))
	first = first[:min(len(first), mostNames)]
	return &Names{First: first, More: len(all) - len(first)}
}

// nodes are those that something is known of.
func (s *Status) nodes() map[string]bool {
	known := map[string]bool{}
	for i := range s.Agents {
		known[s.Agents[i].Node] = true
	}
	for i := range s.Apps {
		known[s.Apps[i].Node] = true
	}
	for i := range s.Senders {
		known[s.Senders[i].Node] = true
	}
	for i := range s.Reasons {
		known[s.Reasons[i].Bottleneck.Node] = true
	}
	for i := range s.Problems {
		if kind, name, _ := strings.Cut(s.Problems[i].Object, " "); kind == "node" {
			known[name] = true
		}
	}
	delete(known, "") // of the cluster as a whole, and what is on no node yet
	return known
}

// namespaces are those of pods that something is known of.
func (s *Status) namespaces() map[string]bool {
	known := map[string]bool{}
	add := func(pod string) {
		if of, _, found := strings.Cut(pod, "/"); found {
			known[of] = true
		}
	}
	for i := range s.Apps {
		add(s.Apps[i].Pod)
	}
	for i := range s.Senders {
		add(s.Senders[i].Pod)
	}
	for i := range s.Problems {
		switch kind, name, _ := strings.Cut(s.Problems[i].Object, " "); kind {
		case "pod":
			add(name)
		case "namespace":
			known[name] = true
		}
	}
	return known
}

// first is q for a list that has no pages.
func (q Query) first() Query {
	q.Page = 0
	return q
}

// names reports whether a problem's object is asked for.
func (q Query) names(object string) bool {
	kind, name, _ := strings.Cut(object, " ")
	switch {
	case q.Pod != "":
		return kind == "pod" && name == q.Pod
	case q.Namespace != "":
		return kind == "pod" && within(name, q.Namespace) || kind == "namespace" && name == q.Namespace
	case q.Node != "":
		return kind == "node" && name == q.Node
	}
	return true
}

// decided reports whether a decision concerns what is asked for: by its reason, or by one
// of its limits.
func (q Query) decided(d *Decision, about func(*Reason) bool) bool {
	for i := range d.Limits {
		pod := d.Limits[i].Pod
		if q.Node == "" && (q.Pod != "" && pod == q.Pod || q.Pod == "" && q.Namespace != "" && within(pod, q.Namespace)) {
			return true
		}
	}
	return about(&d.Reason)
}

func within(pod, namespace string) bool {
	of, _, found := strings.Cut(pod, "/")
	return found && of == namespace
}
