package bitrate

import (
	"errors"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
	"pgregory.net/rapid"
)

func TestParse(t *testing.T) {
	tests := []struct {
		in   string
		want Rate
	}{
		{"100M", 100 * Mbit},
		{"1G", Gbit},
		{"2500k", 2500 * Kbit},
		{"1.5G", 1500 * Mbit},
		{"10Mi", 10 * 1 << 20},
		{"1000000", Mbit},
		{"0.4T", 400 * Gbit},
	}
	for _, tt := range tests {
		got, err := Parse(tt.in)
		if err != nil || got != tt.want {
			t.Errorf("Parse(%q) = %v, %v; want %v", tt.in, got, err, tt.want)
		}
	}
}

// Every value here is one that Cilium takes as "unlimited" or that a kubelet
// or CNI refuses: none may ever be written to a pod.
func TestParseRefuses(t *testing.T) {
	for _, in := range []string{
		"", "0", "7", "100m", "100E", "-10M", "10K", "10Mbit", "10 M", " 10M", "1e9", "1e", "+5M", ".5G", "5.",
		"M", "NaN", "Inf", "0x10M", "1_000M", "999k", "401G", "99999999999999999999999",
	} {
		if got, err := Parse(in); err == nil {
			t.Errorf("Parse(%q) = %v, want an error", in, got)
		}
	}
	if _, err := Parse("0M"); !errors.Is(err, ErrRange) {
		t.Errorf("Parse(0M) = %v, want ErrRange", err)
	}
}

// A written rate is read back by us and by Kubernetes as the same number.
func TestStringRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Rate(rapid.Int64Range(int64(Min), int64(Max)).Draw(t, "rate"))
		back, err := Parse(r.String())
		if err != nil || back != r {
			t.Fatalf("Parse(%q) = %v, %v; want %v", r.String(), back, err, r)
		}
		q, err := resource.ParseQuantity(r.String())
		if err != nil || q.Value() != int64(r) {
			t.Fatalf("Quantity(%q) = %v, %v; want %d", r.String(), q.Value(), err, int64(r))
		}
	})
}

func TestQuantise(t *testing.T) {
	tests := []struct{ in, want Rate }{
		{85_999_999, 85 * Mbit},
		{10 * Mbit, 10 * Mbit},
		{9_876_543, 9_800 * Kbit},
		{Min, Min},
	}
	for _, tt := range tests {
		if got := tt.in.Quantise(); got != tt.want {
			t.Errorf("%d.Quantise() = %d, want %d", tt.in, got, tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"100M", "10Mi", "0", "1.5G", "-1", "1e3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := Parse(s)
		if err == nil && (r < Min || r > Max) {
			t.Fatalf("Parse(%q) = %d, outside the bounds", s, r)
		}
	})
}
