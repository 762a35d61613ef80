package probe

import (
	"errors"
	"testing"
	"time"
)

// What is worth telling before the next calm report: the first answer, a loss, a failure,
// and a packet that used a part of its allowance.
func TestQuiet(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name string
		late Late
		does func(*session)
		want bool
	}{
		{"on time", Late{Above: ms}, func(s *session) { s.note(2*ms+ms/8, 1) }, true},
		{"a part of the allowance", Late{Above: ms}, func(s *session) { s.note(2*ms+ms/2, 1) }, false},
		{"a part of the round trip that is allowed", Late{RTT: 3 * ms}, func(s *session) { s.note(2*ms, 1) }, false},
		{"without an allowance", Late{}, func(s *session) { s.note(20*ms, 1) }, true},
		{"lost", Late{}, func(s *session) { s.keep(1, Sample{Lost: true}) }, false},
		{"answered", Late{}, func(s *session) { s.keep(1, Sample{RTT: ms}) }, true},
		{"blind", Late{}, func(s *session) { s.fail(errors.New("refused"), 1, 1, lastBackoff) }, false},
	} {
		s := &session{Session: Session{Late: tt.late, Interval: DefaultInterval}, done: make([]completed, 8)}
		sender := &Sender{sessions: []*session{s}}
		if s.keep(0, Sample{Lost: true}); !sender.Quiet() {
			t.Errorf("%s: a loss is told of where nothing was ever answered", tt.name)
		}
		if s.note(2*ms, 0); sender.Quiet() {
			t.Errorf("%s: the first answer is not told of", tt.name)
		}
		s.drain(0, nil, nil)
		tt.does(s)
		if got := sender.Quiet(); got != tt.want {
			t.Errorf("%s: quiet %v, want %v", tt.name, got, tt.want)
		}
		s.drain(1, nil, nil)
		if s.err == nil && !sender.Quiet() {
			t.Errorf("%s: not quiet after it was told", tt.name)
		}
		s.Interval = 2 * rare
		if sender.Quiet() {
			t.Errorf("%s: packets are rare, and may wait", tt.name)
		}
	}
}
