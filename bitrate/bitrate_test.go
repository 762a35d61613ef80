package bitrate

import (
	"errors"
	"strings"
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
		{"10e6", 10 * Mbit},
		{"+5M", 5 * Mbit},
		{".5G", 500 * Mbit},
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
		"", "0", "7", "100m", "100E", "-10M", "10K", "10Mbit", "10 M", " 10M", "1e",
		"M", "1e999", "1e-999", "1e99999999999999999999", "NaN", "Inf", "0x10M", "1_000M", "999k", "401G", "99999999999999999999999",
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

// A limit below detnet's own bounds is a limit, and none becomes a higher one.
func TestParseLimitReadsWhatKubeletReads(t *testing.T) {
	for text, want := range map[string]Rate{
		"800k": 800 * Kbit, "512k": 512 * Kbit, "1e6": Mbit, "10e6": 10 * Mbit, "100Ki": 102_400, "1P": MostLimit, "5M": 5 * Mbit,
		"0.5G": 500 * Mbit, "0.8M": 800 * Kbit, "1Ti": 1 << 40, "1k": Kbit, "1000.1": 1001, "1000000m": Kbit, "2G": 2 * Gbit, "999.1": Kbit, "999": 0,
	} {
		if got, err := ParseLimit(text); got != want || (err == nil) != (want != 0) {
			t.Errorf("ParseLimit(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
}

// kubelet is how kubelet and the CNI bandwidth plugin read an annotation.
func kubelet(text string) (Rate, bool) {
	q, err := resource.ParseQuantity(text)
	if err != nil || q.Sign() < 0 || q.Cmp(resource.MustParse("1P")) > 0 || q.Value() < 1000 {
		return 0, false
	}
	return Rate(q.Value()), true
}

// agrees says that the two readings are the same, whatever the text.
func agrees(t interface{ Fatalf(string, ...any) }, text string) {
	if _, exponent, ok := strings.Cut(strings.ToLower(text), "e"); ok && len(exponent) > 3 {
		return // resource.Quantity takes 1e4294967305 for 1e9
	}
	want, ok := kubelet(text)
	got, err := ParseLimit(text)
	if got != want || (err == nil) != ok {
		t.Fatalf("ParseLimit(%q) = %d, %v; kubelet reads %d, %v", text, got, err, want, ok)
	}
}

func TestParseLimitAgreesWithResourceQuantity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		agrees(t, rapid.StringMatching(`[+-]?[0-9]{0,22}(\.[0-9]{0,12})?([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]{1,2}|)`).Draw(t, "text"))
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"100M", "10Mi", "0", "1.5G", "-1", "1e3", ".5G", "1.Gi", "0.000001P", "1E3", "k"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := Parse(s)
		if err == nil && (r < Min || r > Max) {
			t.Fatalf("Parse(%q) = %d, outside the bounds", s, r)
		}
		if len(s) <= 64 {
			agrees(t, s)
		}
	})
}
