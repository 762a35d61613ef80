package webhook

import (
	"testing"

	"github.com/detnet/detnet/internal/deptest"
)

// The webhook and the controller are separate programs that meet in the
// cluster only.
func TestNeverImportsTheController(t *testing.T) {
	deptest.Refuse(t, deptest.Module+"/controller")
}
