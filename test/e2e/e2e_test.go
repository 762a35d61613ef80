// Package e2e plays detnet's life on three real nodes: installed by Helm, it
// stamps, protects, survives restarts, and goes without a trace.
package e2e

import (
	"os"
	"testing"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/test/install"
	"github.com/detnet/detnet/test/sandbox"
	"github.com/detnet/detnet/test/stage"
)

func TestMain(m *testing.M) {
	sandbox.Reexec()
	os.Exit(m.Run())
}

const capacity = 100 * bitrate.Mbit

// values are those of the install.
var values = map[string]string{"controller.config.nodes.taintAfter": "10s"}

// world is the one cluster that the tests below share, in order.
type world struct{ *stage.Stage }

func TestDetnet(t *testing.T) {
	sandbox.Require(t)
	w := setUp(t)
	w.Run(t, "stamps what the label asks for", w.stamps)
	w.Run(t, "admits bad annotations with a warning", w.badAnnotations)
	w.Run(t, "leaves nothing behind on a dry run", w.dryRun)
	w.Run(t, "measures as it is asked to", w.measures)
	w.Run(t, "measures by the family of IP that is asked for", w.MeasuresByFamily)
	w.Run(t, "protects critical traffic", w.protects)
	w.Run(t, "goes on after the leader is gone", w.leaderGone)
	w.Run(t, "keeps limits while the agents restart", w.agentsRestart)
	w.Run(t, "keeps limits while it is upgraded, and back", w.upgrades)
	w.Run(t, "keeps limits while the API server is away", w.apiServerAway)
	w.Run(t, "carries limits into templates", w.rollsOut)
	w.Run(t, "writes nothing in observe mode", w.observe)
	w.Run(t, "shows metrics to whom it is told to", w.metricsForSome)
	w.Run(t, "uninstalls without a trace", w.uninstall)
	w.Run(t, "goes with its namespace", w.namespaceGone)
}

func setUp(t *testing.T) *world {
	w := &world{stage.Up(t, "e2e")}
	if err := install.Detnet(t.Context(), w.Cluster, values); err != nil {
		w.Dump(t)
		t.Fatal(err)
	}
	w.Deploy(t, capacity)
	return w
}
