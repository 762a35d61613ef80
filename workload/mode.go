package workload

import (
	"cmp"
	"fmt"
)

// ControlMode says how far detnet may go.
type ControlMode string

// The modes, from the one that does most to the one that does nothing.
const (
	Enforce ControlMode = "enforce" // measure, decide, write
	Observe ControlMode = "observe" // measure, decide, report; write nothing
	Off     ControlMode = "off"     // leave alone
)

// ParseControlMode reads a mode. What can't be read becomes Observe with an
// error: a slip of the pen must neither write nor blind.
func ParseControlMode(text string) (ControlMode, error) {
	switch m := ControlMode(text); m {
	case Enforce, Observe, Off:
		return m, nil
	}
	return Observe, fmt.Errorf("mode %q must be enforce, observe or off", text)
}

// NamespaceMode is the mode that a namespace states for its pods, by annotation
// or label; Enforce where it states none. One that can't be read is Observe,
// with an error.
func NamespaceMode(labels, annotations map[string]string) (ControlMode, error) {
	text := cmp.Or(annotations[AnnotationMode], labels[AnnotationMode])
	if text == "" {
		return Enforce, nil
	}
	return ParseControlMode(text)
}

// And returns the more cautious of two modes, as for a namespace within a
// cluster.
func (m ControlMode) And(n ControlMode) ControlMode {
	for _, cautious := range []ControlMode{Off, Observe} {
		if m == cautious || n == cautious {
			return cautious
		}
	}
	return Enforce
}
