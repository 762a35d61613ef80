package agents

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/detnet/detnet/agent/api"
)

// line is a stream that takes one assignment at a time.
type line struct {
	took chan uint32
	err  error
}

func (l *line) Send(a *api.Assignment) error {
	l.took <- a.GetCalmReportMs()
	return l.err
}

// Who has not been told yet is told the newest alone, and again on a new stream.
func TestOutbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := outbox{current: &api.Assignment{}}
		put := func(ms uint32) { o.put(&api.Assignment{CalmReportMs: ms}) }
		put(1)
		put(2)
		first := &line{took: make(chan uint32)}
		o.open(first, func(err error) { t.Error(err) })
		synctest.Wait()
		put(3)
		put(4) // while the second waits to be taken
		if got := []uint32{<-first.took, <-first.took}; !slices.Equal(got, []uint32{2, 4}) {
			t.Errorf("sent %v, want the newest at the beginning and the newest since", got)
		}
		o.close()
		again := &line{took: make(chan uint32)}
		o.open(again, func(err error) { t.Error(err) })
		if got := <-again.took; got != 4 {
			t.Errorf("a new stream begins with %d, want 4", got)
		}
		o.close()
		put(5)
		broken := &line{took: make(chan uint32, 1), err: errors.New("broken")}
		var why error
		o.open(broken, func(err error) { why = err })
		synctest.Wait()
		if why == nil || <-broken.took != 5 {
			t.Errorf("a stream that can't send: %v", why)
		}
		put(6)
		o.close()
		if len(broken.took) > 0 {
			t.Error("a stream that can't send was used again")
		}
	})
}
