package status

import (
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/detnet/detnet/controller/plan"
)

// crowd is a status of so many nodes, each with an app and ten senders.
func crowd(nodes int) *Status {
	s := &Status{Leader: true, Mode: "enforce"}
	for i := range nodes {
		node := fmt.Sprintf("n%04d", i)
		app := App{Pod: fmt.Sprintf("factory/app-%04d", i), Node: node, State: OK}
		switch i % 10 {
		case 4:
			app.State = Violated
		case 7:
			app.State = Blind
		}
		for _, from := range []string{"n-a", "n-b"} {
			app.Sessions = append(app.Sessions, Session{ID: from + "/" + app.Pod, From: from, NodeSession: &Session{From: from}})
		}
		s.Apps = append(s.Apps, app)
		s.Reasons = append(s.Reasons, Reason{Bottleneck: plan.Uplink(node), Action: plan.Hold, Cause: plan.Calm, App: app.Pod})
		s.Agents = append(s.Agents, Agent{Pod: "detnet/agent-" + node, Node: node, Connected: i != 5})
		for k := range 10 {
			s.Senders = append(s.Senders, Sender{Pod: fmt.Sprintf("office/pod-%04d-%d", i, k), Node: node})
		}
	}
	d := Decision{Reason: Reason{Bottleneck: plan.Cluster, App: "factory/app-0001"}}
	for _, p := range s.Senders {
		d.Limits = append(d.Limits, Limit{Pod: p.Pod})
	}
	s.Decisions = []Decision{d, {Reason: Reason{Bottleneck: plan.Uplink("n0002"), App: "factory/app-0002"}, Limits: []Limit{{Pod: "office/pod-0002-1"}}}}
	s.Problems = []Problem{{Object: "node n0003"}, {Object: "namespace office"}, {Object: "pod office/pod-0002-1"}}
	return s
}

// A page of a large status is small, whatever the cluster's size, and what is in trouble
// is on the first.
func TestAPageIsSmall(t *testing.T) {
	s := crowd(1000)
	s.Senders[9000].Refused, s.Senders[8000].OverLimit = "no", "too much"
	before, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	page := s.Select(Query{Limit: 100})
	text, err := json.Marshal(page)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d octets of %d", len(text), len(before))
	if len(text) > 200_000 || len(before) < 10*len(text) {
		t.Errorf("a page has %d octets of %d", len(text), len(before))
	}
	if page.Apps[0].State != Violated || page.Apps[99].State != Violated || page.Agents[0].Connected {
		t.Errorf("the first app is %s and the last %s, the first agent reports: %v", page.Apps[0].State, page.Apps[99].State, page.Agents[0].Connected)
	}
	if page.Senders[0].OverLimit == "" || page.Senders[1].Refused == "" || page.Senders[2].Pod != s.Senders[0].Pod {
		t.Errorf("the first of the throttleable pods are %+v", page.Senders[:3])
	}
	if want := (Totals{Apps: 1000, Violated: 100, Blind: 100, Senders: 10_000, Reasons: 1000, Agents: 1000, Connected: 999, Problems: 3, Uncontrolled: 2}); *page.Totals != want {
		t.Errorf("%+v, want %+v", *page.Totals, want)
	}
	if after, err := json.Marshal(s); err != nil || string(after) != string(before) {
		t.Errorf("asking has changed the status (%v)", err)
	}
	if s.Select(Query{}) != s {
		t.Error("all of it is made anew")
	}
}

// What somebody should look at is there on whatever page one is, as much of it as a page
// holds, and how much there is.
func TestTroublesAreOnEveryPage(t *testing.T) {
	s := crowd(1000)
	s.Senders[9000].Refused, s.Senders[8000].OverLimit = "no", "too much"
	for i := range s.Agents {
		s.Agents[i].Connected = i >= 300
	}
	for _, q := range []Query{{Limit: 100}, {Limit: 100, Page: 1}, {Limit: 100, Page: 50}, {Node: "n0002"}, {Namespace: "factory", Limit: 100}} {
		p := s.Select(q)
		agents, senders, problems := 100, 2, 3
		if q.Node != "" {
			agents, senders, problems = 1, 0, 0
		}
		if q.Namespace != "" {
			senders, problems = 0, 0
		}
		if got := p.Troubles; len(got.Agents) != agents || len(got.Senders) != senders || len(got.Problems) != problems {
			t.Errorf("%+v: %d agents, %d senders and %d problems, want %d, %d and %d", q, len(got.Agents), len(got.Senders), len(got.Problems), agents, senders, problems)
		}
		if silent := p.Totals.Agents - p.Totals.Connected; q.Node == "" && silent != 300 || p.Totals.Uncontrolled != senders {
			t.Errorf("%+v: %d agents are silent and %d senders not controlled", q, silent, p.Totals.Uncontrolled)
		}
	}
}

// All pages together are the whole.
func TestPagesAreTheWhole(t *testing.T) {
	s := crowd(25)
	seen := map[string]int{}
	for page := range 30 {
		p := s.Select(Query{Limit: 9, Page: page})
		for _, a := range p.Apps {
			seen[a.Pod]++
		}
		for _, x := range p.Senders {
			seen[x.Pod]++
		}
	}
	if len(seen) != 25+250 {
		t.Errorf("%d pods are on the pages", len(seen))
	}
	for pod, n := range seen {
		if n != 1 {
			t.Errorf("%s is on %d pages", pod, n)
		}
	}
}

func TestWhatIsAskedFor(t *testing.T) {
	s := crowd(10)
	for _, tt := range []struct {
		q                                                   Query
		apps, senders, reasons, agents, decisions, problems int
	}{
		{Query{Node: "n0002"}, 1, 10, 1, 1, 2, 0},
		{Query{Node: "n0003"}, 1, 10, 1, 1, 1, 1},
		{Query{Namespace: "office"}, 0, 100, 0, 10, 2, 2},
		{Query{Namespace: "factory"}, 10, 0, 10, 10, 2, 0},
		{Query{Pod: "office/pod-0002-1"}, 0, 1, 1, 10, 2, 1},
		{Query{Pod: "factory/app-0004"}, 1, 0, 1, 10, 1, 0},
		{Query{Namespace: "office", Node: "n0002"}, 0, 10, 0, 1, 0, 2},
		{Query{Pod: "office/nobody"}, 0, 0, 0, 10, 1, 0},
	} {
		p := s.Select(tt.q)
		got := []int{len(p.Apps), len(p.Senders), len(p.Reasons), len(p.Agents), len(p.Decisions), len(p.Problems)}
		if want := []int{tt.apps, tt.senders, tt.reasons, tt.agents, tt.decisions, tt.problems}; !slices.Equal(got, want) {
			t.Errorf("%+v: %v, want %v", tt.q, got, want)
		}
	}
}

func TestQueryIsRead(t *testing.T) {
	for _, q := range []Query{{}, {Node: "n1", Namespace: "a", Pod: "a/b", Limit: 7, Page: 3}} {
		if got, err := ParseQuery(q.Values()); err != nil || !reflect.DeepEqual(got, q) {
			t.Errorf("%+v is read as %+v, %v", q, got, err)
		}
	}
	for text, want := range map[string]string{
		"limit=-1": "from 0 to 1000", "limit=1001": "from 0 to 1000", "limit=x": "from 0 to 1000", "page=1": "takes a limit",
		"limit=1&page=9999999": "from 0 to 1000000", "pod=x": "NAMESPACE/NAME", "node=" + strings.Repeat("n", 400): "more than",
	} {
		v, err := url.ParseQuery(text)
		if err != nil {
			t.Fatal(err)
		}
		if q, err := ParseQuery(v); err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 200 {
			t.Errorf("%.30s is read as %+v, %v", text, q, err)
		}
	}
}

// Of what nothing is known is said what there is in its place, and how much more; what only a
// problem names is known.
func TestWhatIsNotThereIsSaid(t *testing.T) {
	s := crowd(15)
	s.Problems = append(s.Problems, Problem{Object: "node n9999"}, Problem{Object: "namespace n-s"})
	for _, tt := range []struct {
		q               Query
		node, namespace *Names
	}{
		{Query{Node: "n0002", Namespace: "office"}, nil, nil},
		{Query{Node: "n9999", Namespace: "n-s"}, nil, nil},
		{Query{Limit: 3}, nil, nil},
		{Query{Node: "office", Namespace: "factory"}, &Names{First: []string{"n0000", "n0001", "n0002", "n0003", "n0004", "n0005", "n0006", "n0007", "n0008", "n0009", "n0010", "n0011"}, More: 4}, nil},
		{Query{Node: "n0001", Namespace: "n0001"}, nil, &Names{First: []string{"factory", "n-s", "office"}}},
	} {
		if p := s.Select(tt.q); !reflect.DeepEqual(p.NoNode, tt.node) || !reflect.DeepEqual(p.NoNamespace, tt.namespace) {
			t.Errorf("%+v: %+v and %+v, want %+v and %+v", tt.q, p.NoNode, p.NoNamespace, tt.node, tt.namespace)
		}
	}
	if p := (&Status{Leader: true}).Select(Query{Node: "n"}); p.NoNode == nil || len(p.NoNode.First) != 0 || p.NoNode.More != 0 {
		t.Errorf("where nothing is known: %+v", p.NoNode)
	}
}
