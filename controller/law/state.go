package law

import (
	"time"

	"github.com/detnet/detnet/controller/law/adaptive"
	"github.com/detnet/detnet/controller/law/original"
)

// State is all that a law remembers between steps. It is a plain value: it can
// be stored, compared and printed, and a Step never changes the one it got.
// What must survive a restart is not here but in the limits themselves.
type State struct {
	At       time.Time // of the step that made it
	Adaptive adaptive.State
	Original original.State // of aimd and step
}
