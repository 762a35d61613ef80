package inventory

import (
	"testing"

	"github.com/detnet/detnet/internal/deptest"
)

// The inventory knows what is there; what to do about it is no concern of it.
func TestKnowsWithoutDeciding(t *testing.T) {
	deptest.Refuse(t, deptest.Module+"/controller/law", deptest.Module+"/controller/actuate", deptest.Module+"/controller/agents")
}
