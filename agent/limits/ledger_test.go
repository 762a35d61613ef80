package limits

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/detnet/detnet/agent/api"
)

var epoch = time.Unix(1_800_000_000, 0)

func said(term uint64, pods ...*api.PodLimit) *api.Limits {
	return &api.Limits{Term: term, Pods: pods}
}

func TestLedgerRefusesWhatIsOutOfBounds(t *testing.T) {
	var l Ledger
	if err := l.Take(said(7, &api.PodLimit{Uid: "a", EgressBps: 50e6, Sequence: 1}), epoch); err != nil {
		t.Fatal(err)
	}
	many := make([]*api.PodLimit, MaxPods+1)
	for name, bad := range map[string]*api.Limits{
		"a term":             said(0),
		"at most":            said(7, many...),
		"a UID":              said(7, &api.PodLimit{EgressBps: 50e6, Sequence: 2}),
		"64":                 said(7, &api.PodLimit{Uid: strings.Repeat("x", 65), EgressBps: 50e6, Sequence: 2}),
		"1000000":            said(7, &api.PodLimit{Uid: "a", EgressBps: 999_999, Sequence: 2}),
		"400000000000":       said(7, &api.PodLimit{Uid: "a", EgressBps: 1 << 63, Sequence: 2}),
		"its number must be": said(7, &api.PodLimit{Uid: "a", EgressBps: 60e6}),
	} {
		if err := l.Take(bad, epoch); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v: %v, want an error that names %q", bad, err, name)
		}
	}
	if d, listed, known := l.Of("a"); !known || !listed || d.Rate != 50*mbit {
		t.Errorf("what was refused has changed something: %+v, %v, %v", d, listed, known)
	}
}

// A leader that was deposed is refused while its successor is heard, and a minute
// more; then an older term may speak, as after a lease was made anew.
func TestDeposed(t *testing.T) {
	var l Ledger
	take := func(term uint64, at time.Duration) error {
		return l.Take(said(term, &api.PodLimit{Uid: "a", EgressBps: term * 1e6, Sequence: 1}), epoch.Add(at))
	}
	if err := errors.Join(take(7, 0), take(8, time.Second), l.Alive(8, epoch.Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	soon := time.Hour + deposedFor/2
	if err := take(7, soon); !errors.Is(err, ErrDeposed) {
		t.Errorf("the deposed leader speaks: %v", err)
	}
	if err := l.Alive(7, epoch.Add(soon)); !errors.Is(err, ErrDeposed) {
		t.Errorf("the deposed leader keeps its stream: %v", err)
	}
	if d, _, _ := l.Of("a"); d.Rate != 8*mbit {
		t.Errorf("in force is %v, not what the newer leader said", d.Rate)
	}
	if err := take(7, time.Hour+deposedFor+1); err != nil {
		t.Errorf("an older term is locked out: %v", err)
	}
}

func TestLedgerKnowsOnlyWhatWasSaid(t *testing.T) {
	var l Ledger
	if _, _, known := l.Of("a"); known {
		t.Error("something is known before anybody spoke")
	}
	if err := l.Take(said(1), epoch); err != nil {
		t.Fatal(err)
	}
	if _, listed, known := l.Of("a"); listed || !known {
		t.Errorf("listed %v, known %v after an empty list", listed, known)
	}
	select {
	case <-l.Changed():
	default:
		t.Error("nobody was told of a change")
	}
}
