package hook

import (
	"testing"

	"github.com/detnet/detnet/internal/deptest"
)

// The two programs meet over the network only.
func TestNeverImportsTheWebhook(t *testing.T) {
	deptest.Refuse(t, deptest.Module+"/webhook", deptest.Module+"/policies", "github.com/open-policy-agent/opa")
}
