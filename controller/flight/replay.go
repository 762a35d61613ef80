package flight

import (
	"errors"
	"io"

	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
	"github.com/detnet/detnet/workload"
)

// Replayed is a recorded step, and what a law makes of the same observation.
type Replayed struct {
	Step
	Again plan.Plan
}

// Replay shows a recording to the laws that choose names for its headers. A law
// of the recorded name goes on from the recorded state, any other from none.
// From there it keeps its own memory, while what it is shown stays what the
// recorded decisions led to.
func Replay(from io.Reader, choose func(Header) (law.Law, error), each func(Replayed) error) error {
	r, err := NewReader(from)
	if err != nil {
		return err
	}
	var chosen law.Law
	var header *Header
	states := map[workload.ControlMode]law.State{}
	for {
		s, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if s.Header != header {
			header = s.Header
			if chosen, err = choose(*header); err != nil {
				return err
			}
			clear(states)
		}
		state, going := states[s.Mode]
		if s.Start != nil && !(s.Continues && going) {
			state = law.State{}
			if chosen.Name() == header.Law {
				state = *s.Start
			}
		}
		again, view := Replayed{Step: s}, sense.Judge(law.SenseOf(chosen), s.Observation)
		view.Elsewhere = s.Elsewhere
		states[s.Mode], again.Again = chosen.Step(state, view)
		if err := each(again); err != nil {
			return err
		}
	}
}
