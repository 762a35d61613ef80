package flight

import (
	"testing"

	"github.com/detnet/detnet/internal/deptest"
)

// What was recorded is decided again far from any cluster.
func TestKnowsNoCluster(t *testing.T) {
	deptest.Refuse(t, "k8s.io/api", "k8s.io/client-go", "sigs.k8s.io", deptest.Module+"/controller/actuate", deptest.Module+"/controller/inventory")
}
