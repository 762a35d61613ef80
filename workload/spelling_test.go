package workload

import "testing"

func TestClosest(t *testing.T) {
	for word, want := range map[string]string{
		"detnet.dev/max-latncy": AnnotationMaxLatency,
		"detnet.dev/max-loss":   "", // is one
		"detnet.dev/team":       "",
		"":                      "",
		"detnet.dev/wieght":     AnnotationWeight,
	} {
		if got := Closest(word, ManagedAnnotations); got != want {
			t.Errorf("Closest(%q) = %q, want %q", word, got, want)
		}
	}
}
