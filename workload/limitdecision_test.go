package workload

import "testing"

func TestDecidedOrder(t *testing.T) {
	for _, tt := range []struct {
		decision, egress string
		want             Order
		ok               bool
	}{
		{"7.42 50M", "50M", Order{7, 42}, true},
		{DecisionText(Order{1 << 60, 1}, "2500k"), "2500k", Order{1 << 60, 1}, true},
		{"7.42 50M", "60M", Order{}, false}, // changed by hand since
		{"7.42 50M", "", Order{}, false},
		{"7.42 ", "", Order{}, false},
		{"", "50M", Order{}, false},
		{"7.42", "50M", Order{}, false},
		{"0.0 50M", "50M", Order{}, false},
		{"-7.42 50M", "50M", Order{}, false},
		{"7.42.1 50M", "50M", Order{}, false},
		{"99999999999999999999.1 50M", "50M", Order{}, false},
	} {
		if got, ok := DecidedOrder(tt.decision, tt.egress); got != tt.want || ok != tt.ok {
			t.Errorf("DecidedOrder(%q, %q) = %v, %v; want %v, %v", tt.decision, tt.egress, got, ok, tt.want, tt.ok)
		}
	}
}

func TestOrder(t *testing.T) {
	ascending := []Order{{}, {1, 1}, {1, 2}, {1, 10}, {2, 1}, {10, 0}}
	for i, a := range ascending {
		for j, b := range ascending {
			if got, want := a.Compare(b), min(max(i-j, -1), 1); got != want {
				t.Errorf("%v compared with %v is %d, want %d", a, b, got, want)
			}
		}
		if back, err := ParseOrder(a.String()); err != nil || back != a {
			t.Errorf("%v reads back as %v, %v", a, back, err)
		}
	}
}
