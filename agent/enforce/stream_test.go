package enforce

import (
	"testing"
	"time"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/agent/limits"
	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/workload"
)

// say is the leader's list, with one decision about the pod.
func (n *node) say(t testing.TB, term, sequence uint64, rate bitrate.Rate) {
	t.Helper()
	if n.enforcer.Ledger == nil {
		n.enforcer.Ledger = new(limits.Ledger)
	}
	l := &api.Limits{Term: term, Pods: []*api.PodLimit{{Uid: "uid-1", EgressBps: uint64(rate), Sequence: sequence}}}
	if err := n.enforcer.Ledger.Take(l, time.Now()); err != nil {
		t.Fatal(err)
	}
	n.enforcer.reconcile(false)
}

func (n *node) record(term, sequence uint64, egress string) {
	n.list[0].Egress = egress
	n.list[0].Decision = workload.DecisionText(workload.Order{Term: term, Sequence: sequence}, egress)
	n.enforcer.reconcile(false)
}

// What the leader says is in the kernel before it is in the annotation, and what
// the kernel holds outlives the agent: a record that comes late loosens nothing.
func TestLimitsOfTheStreamOutliveTheAgent(t *testing.T) {
	n := newNode(t)
	inKernel := func(what string, want bitrate.Rate) {
		t.Helper()
		if got := n.buckets(t)[ifbName("uid-1")]; got != bucketOf(want).rate {
			t.Errorf("%s: the kernel limits to %d octets/s, want %d (%v)", what, got, bucketOf(want).rate, want)
		}
		if e := n.enforcer.Enforced("uid-1"); e.Egress != want {
			t.Errorf("%s: reported as in force: %v, want %v", what, e.Egress, want)
		}
	}
	n.annotate("1G", "")
	n.say(t, 7, 1, 80*bitrate.Mbit)
	n.say(t, 7, 2, 50*bitrate.Mbit)
	inKernel("said", 50*bitrate.Mbit)
	if e := n.enforcer.Enforced("uid-1"); e.Newest != (workload.Order{Term: 7, Sequence: 2}) {
		t.Errorf("reported as the newest: %v", e.Newest)
	}
	n.record(7, 1, "80M")
	inKernel("an older decision is recorded late", 50*bitrate.Mbit)

	n.restart(t) // and nobody speaks to the new agent yet
	n.enforcer.reconcile(true)
	inKernel("after a restart, with an old record", 50*bitrate.Mbit)
	n.record(7, 2, "50M")
	n.restart(t)
	n.enforcer.reconcile(true)
	inKernel("after a restart, with the record", 50*bitrate.Mbit)
	n.record(8, 1, "60M")
	inKernel("another leader records", 60*bitrate.Mbit)
	n.say(t, 8, 1, 60*bitrate.Mbit)
	n.annotate("300M", "")
	inKernel("an administrator edits", 300*bitrate.Mbit)
	n.say(t, 8, 2, 70*bitrate.Mbit)
	inKernel("and the leader decides again", 70*bitrate.Mbit)

	if err := n.enforcer.Ledger.Take(&api.Limits{Term: 8}, time.Now()); err != nil {
		t.Fatal(err)
	}
	n.enforcer.reconcile(false)
	inKernel("the leader lets the pod go", 300*bitrate.Mbit)
}
