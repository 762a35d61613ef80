package controller

import (
	"math"
	"time"
)

// Bounds of what the leader has told to it. A report takes it some 100 µs of a core with
// all that belongs to it, so this is two fifths of one.
const (
	// quickReports is how many reports a second come at most beside the calm ones.
	quickReports = 4000
	// mostBusy is how many agents at most are asked to report each Period for as long as
	// something is decided about their node.
	mostBusy = quickReports / int(time.Second/Period)
	// fewAgents do not make a leader late, whatever they report.
	fewAgents = mostBusy / 4
)

// strain is whether more comes than the leader reads and decides in time, because of what
// there is to tell or because others use its processor. More reports would make that
// worse: they wait, what waits is old, and what is old looks like trouble. So agents are
// asked for fewer, and more again when there is room for them.
type strain struct {
	least   time.Duration // between two reports of an agent, 2 × Period to calmReports; 0: none is asked to wait
	since   time.Time     // when the counts began
	reports uint64        // received until then
	turns   int           // of the loop, in their time
	late    int           // of which ended more than a Period after they were due
	latest  time.Duration // after it was due
	eased   int           // counts in a row with room for more reports
}

const (
	strainEvery = 500 * time.Millisecond // what is counted together
	fewTurns    = 3                      // say nothing, unless one is as late as that
	easeAfter   = 4                      // counts with room
)

// turn takes in a turn of the loop that ended so long after it was due.
func (s *strain) turn(after time.Duration) {
	s.turns++
	if after > Period {
		s.late++
	}
	s.latest = max(s.latest, after)
}

// note takes in how many reports were received so far, from so many agents: calm, each
// makes one a second.
func (s *strain) note(now time.Time, reports uint64, agents int) {
	took := now.Sub(s.since)
	if took < strainEvery {
		return
	}
	quick := float64(reports-s.reports)/took.Seconds() - float64(agents)
	first, slow := s.since.IsZero(), agents > fewAgents && (s.turns >= fewTurns && 2*s.late > s.turns || s.latest >= strainEvery)
	if agents > fewAgents && s.late > 0 || s.eases(quick) > quickReports {
		s.eased = 0
	} else {
		s.eased++
	}
	switch {
	case first:
	case quick > quickReports*5/4: // as rarely as makes it enough, at once: each step is a word to all agents
		s.longer(math.Ceil(quick / quickReports))
	case slow:
		s.longer(2)
	case s.eased >= easeAfter:
		s.least, s.eased = s.shorter(), 0
	}
	s.since, s.reports, s.turns, s.late, s.latest = now, reports, 0, 0, 0
}

// longer has agents report so many times as rarely.
func (s *strain) longer(times float64) {
	s.least = time.Duration(min(times*float64(max(s.least, Period)), float64(calmReports)))
}

// shorter is the time between two reports of an agent that comes next.
func (s *strain) shorter() time.Duration {
	if half := s.least / 2; half >= 2*Period {
		return half
	}
	return 0
}

// eases is how many quick reports would come then: an agent that always has something to tell
// makes one in that time, of which one a second would come anyway.
func (s *strain) eases(quick float64) float64 {
	const least = 0.25 // a second: where agents wait for a second none is quick
	each := func(every time.Duration) float64 { return 1/max(every, Period).Seconds() - 1 }
	return quick * each(s.shorter()) / max(each(s.least), least)
}
