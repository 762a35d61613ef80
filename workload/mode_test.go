package workload

import "testing"

func TestControlMode(t *testing.T) {
	for _, text := range []string{"", "Enforce", "on", "enforce "} {
		if m, err := ParseControlMode(text); m != Observe || err == nil {
			t.Errorf("ParseControlMode(%q) = %v, %v; want observe and an error", text, m, err)
		}
	}
	for _, tt := range []struct{ a, b, want ControlMode }{
		{Enforce, Enforce, Enforce},
		{Enforce, Observe, Observe},
		{Observe, Enforce, Observe},
		{Off, Enforce, Off},
		{Observe, Off, Off},
	} {
		if got := tt.a.And(tt.b); got != tt.want {
			t.Errorf("%v.And(%v) = %v, want %v", tt.a, tt.b, got, tt.want)
		}
	}
}
