package controller

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/controller/actuate"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
	"github.com/detnet/detnet/workload"
)

// lastWords is a law that decides just after the term has ended, and its writers have.
type lastWords struct {
	constant
	end   func()
	ended chan struct{}
}

func (l lastWords) Step(s law.State, v sense.View) (law.State, plan.Plan) {
	l.end()
	<-l.ended
	return l.constant.Step(s, v)
}

// writers are an Actuator that says when it has ended.
type writers struct {
	*actuate.Actuator
	ended chan struct{}
}

func (w writers) Run(ctx context.Context) { w.Actuator.Run(ctx); close(w.ended) }

// nobody is written to.
type nobody struct{}

func (nobody) Annotate(context.Context, plan.PodID, types.UID, map[string]string) error { return nil }
func (nobody) Try(context.Context, plan.PodID, types.UID, map[string]string) error      { return nil }

// What is decided when the term is over is not left to the next one to write, also
// where that is this replica's and has begun.
func TestNoTermWritesWhatTheOneBeforeDecided(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := &stage{snapshot: &inventory.Snapshot{Senders: []*inventory.Sender{sender("bulk", workload.Enforce)}}}
	to := writers{actuate.New(nobody{}, actuate.DefaultConfig(), slog.New(slog.DiscardHandler), nil), make(chan struct{})}
	l := s.loop(Settings{Law: lastWords{constant{plan.Violation, 50 * mbit}, cancel, to.ended}})
	l.Limits, l.Leads = to, func() bool { return true }
	if err := l.Start(ctx); err != nil {
		t.Error(err)
	}
	if w := to.Waiting(); w.Cuts+w.Others != 0 {
		t.Errorf("the next term begins with %+v to write", w)
	}
}

// A term that ends before its number is known is none, and is not told as one.
func TestATermWithoutANumberIsNone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := &stage{snapshot: &inventory.Snapshot{}}
	l := s.loop(Settings{Law: constant{}})
	l.Term = func(context.Context) (uint64, error) {
		cancel() // the lease has gone to somebody else
		return 7, nil
	}
	var log bytes.Buffer
	l.Log = slog.New(slog.NewTextHandler(&log, nil))
	if err := l.Start(ctx); err != nil || strings.Contains(log.String(), "leading") {
		t.Errorf("%v, and the log says %q", err, log.String())
	}
}
