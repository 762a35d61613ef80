package program

import "testing"

// The runtime keeps to nine tenths of what the container may have, unless somebody says
// otherwise or nobody says anything.
func TestMemoryLimitLeavesRoom(t *testing.T) {
	for _, tt := range []struct {
		limit, own string
		want       int64
	}{
		{"536870912", "", 483183819}, {"1000", "", 900}, {"536870912", "300MiB", 0}, {"", "", 0}, {"512Mi", "", 0}, {"0", "", 0}, {"-1", "", 0},
	} {
		got := int64(0)
		keepToMemory(func(name string) string {
			return map[string]string{memoryLimit: tt.limit, "GOMEMLIMIT": tt.own}[name]
		}, func(n int64) int64 { got = n; return 0 })
		if got != tt.want {
			t.Errorf("limit %q, GOMEMLIMIT %q: %d, want %d", tt.limit, tt.own, got, tt.want)
		}
	}
}
