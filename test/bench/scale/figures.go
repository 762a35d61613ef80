package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Figures are what one run found. Durations are in s unless their name says
// otherwise.
type Figures struct {
	Nodes, Pods              int
	Road                     string
	AllStreams               float64 // from the start until every agent streams
	FirstDecision            float64
	LeaderCores, LeaderMiB   float64 // calm
	LeaderFileMiB            float64 // of which the program's own pages
	LeaderWaits              float64 // calm: threads that were ready to run and had no core, on average
	StandbyCores, StandbyMiB float64
	Ticks                    uint64  // calm, of which
	TickP50Ms, TickP99Ms     float64 // upper bounds of buckets
	Streams                  int64
	ReportsPerSecond         float64
	OctetsPerSecond          float64 // both ways, without TLS and IP
	SessionOctets            float64 // a second, of one calm session
	APIRequests              float64 // a second, calm, with the API server's own
	LeaseRequests            float64 // of which for leases
	Onsets                   []Onset
	Churn                    Churn
	ChangeLease              float64 // from SIGKILL of the leader until the other has the lease
	ChangeDecision           float64 // from SIGKILL of the leader until the next decides
	ChangeAllNodes           float64 // until it has spoken to every node's agent
	Admission                Admission
}

// Onset is what followed when nodes became congested at once.
type Onset struct {
	Nodes, Fresh           int     // of which so many were not before
	Offered                float64 // share of the uplink that their pods' limits let through at the onset
	Late                   int     // had late packets in the phase
	Cut                    int     // got relief within the phase
	CutP50, CutP99, CutMax float64
	Clean                  int // had no late packet for the last second of the phase
	CleanP50, CleanMax     float64
	Sent                   float64 // share of the uplink in use at the end
	WritesPerSecond        float64
	LeaderCores, TickP99Ms float64
	LeaderWaits            float64
	cuts, clean            []float64
}

// Churn is what followed while pods came and went.
type Churn struct {
	PodsPerSecond  float64 // that came; as many went
	LagP50, LagP99 float64 // from when the API server has made one until its node is told
	Never          int     // of which nobody was told in time
}

func (f Figures) print(w io.Writer) {
	fmt.Fprintf(w, "%d nodes, %d throttleable pods each, by %s; the agents run at nice %d\n", f.Nodes, f.Pods, f.Road, niceness)
	fmt.Fprintf(w, "  start        first decision %.1f s, all %d streams %.1f s\n", f.FirstDecision, f.Streams, f.AllStreams)
	fmt.Fprintf(w, "  calm         leader %.2f cores (ready and without a core: %.2f threads), %.0f MiB, %.0f of it the program's pages; standby %.2f cores, %.0f MiB; %d ticks p50 ≤ %.0f ms, p99 ≤ %.0f ms\n", f.LeaderCores, f.LeaderWaits, f.LeaderMiB, f.LeaderFileMiB, f.StandbyCores, f.StandbyMiB, f.Ticks, f.TickP50Ms, f.TickP99Ms)
	fmt.Fprintf(w, "               %.0f reports/s, %.0f octets/s; %.0f octets/s a session; the API server is asked %.1f times/s, %.1f for leases\n", f.ReportsPerSecond, f.OctetsPerSecond, f.SessionOctets, f.APIRequests, f.LeaseRequests)
	for _, o := range f.Onsets {
		if o.Cut == 0 {
			fmt.Fprintf(w, "  %4d at once  no cut gave relief (of %d, %d had late packets; their limits let %.0f %% through); uplinks %.0f %% used; %.1f writes/s, leader %.2f cores (waits %.2f), tick p99 ≤ %.0f ms\n",
				o.Nodes, o.Fresh, o.Late, 100*o.Offered, 100*o.Sent, o.WritesPerSecond, o.LeaderCores, o.LeaderWaits, o.TickP99Ms)
			continue
		}
		fmt.Fprintf(w, "  %4d at once  first cut p50 %.2f, p99 %.2f, last %.2f s (%d of %d, %d had late packets; their limits let %.0f %% through); clean p50 %.2f, last %.2f s (%d); uplinks %.0f %% used; %.1f writes/s, leader %.2f cores (waits %.2f), tick p99 ≤ %.0f ms\n",
			o.Nodes, o.CutP50, o.CutP99, o.CutMax, o.Cut, o.Fresh, o.Late, 100*o.Offered, o.CleanP50, o.CleanMax, o.Clean, 100*o.Sent, o.WritesPerSecond, o.LeaderCores, o.LeaderWaits, o.TickP99Ms)
	}
	fmt.Fprintf(w, "  come and go  %.0f pods/s; their nodes told p50 %.2f, p99 %.2f s later (%d never)\n", f.Churn.PodsPerSecond, f.Churn.LagP50, f.Churn.LagP99, f.Churn.Never)
	fmt.Fprintf(w, "  leader lost  lease taken %.1f s, next decision %.1f s, last node told %.1f s\n", f.ChangeLease, f.ChangeDecision, f.ChangeAllNodes)
	if a := f.Admission; a.Cached > 0 {
		fmt.Fprintf(w, "  admission    %d pods cached; a create p50 %.1f, p99 %.1f ms, without the webhook %.1f, %.1f ms; the webhook itself p50 ≤ %.1f, p99 ≤ %.1f ms, %.2f cores, %.0f MiB\n",
			a.Cached, a.WithP50Ms, a.WithP99Ms, a.WithoutP50Ms, a.WithoutP99Ms, a.WebhookP50Ms, a.WebhookP99Ms, a.Cores, a.MiB)
	}
}

func table(w io.Writer, all []Figures) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "nodes\tcores\tMiB\ttick p99 ms\treports/s\tkB/s\tfirst decision s\tnext leader s\tcut p99 s, 10 %\tall\tcreate p99 ms\twithout\t")
	for _, f := range all {
		fmt.Fprintf(t, "%d\t%.2f\t%.0f\t%.0f\t%.0f\t%.0f\t%.1f\t%.1f\t%.2f\t%.2f\t%.1f\t%.1f\t\n", f.Nodes, f.LeaderCores, f.LeaderMiB, f.TickP99Ms,
			f.ReportsPerSecond, f.OctetsPerSecond/1000, f.FirstDecision, f.ChangeDecision, f.Onsets[1].CutP99, f.Onsets[2].CutP99, f.Admission.WithP99Ms, f.Admission.WithoutP99Ms)
	}
	_ = t.Flush() // it is the terminal
}
