package placement

import (
	"testing"

	"github.com/detnet/detnet/internal/deptest"
)

// Placement is arithmetic.
func TestIsPure(t *testing.T) {
	deptest.Refuse(t, "k8s.io", "log", "time", "net")
}
