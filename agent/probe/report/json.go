package report

import (
	"encoding/json"
	"time"

	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/agent/probe/stats"
)

// document is the report in JSON; docs/reference/probe.schema.json describes it.
// What is not known is null, and Missing says why. Durations are in
// milliseconds unless the name says otherwise.
type document struct {
	Target     string  `json:"target"`
	Address    *string `json:"address"`
	Source     *string `json:"source"`
	Protocol   string  `json:"protocol"`
	SSID       *uint16 `json:"ssid"`
	Timestamps *string `json:"timestamps"`
	From       *string `json:"from"`
	To         *string `json:"to"`

	RateAsked    float64  `json:"rate_asked"`
	RateAchieved *float64 `json:"rate_achieved"`
	RateKept     bool     `json:"rate_kept"`

	Sent        uint64   `json:"sent"`
	Received    uint64   `json:"received"`
	Lost        uint64   `json:"lost"`
	InFlight    int64    `json:"in_flight"`
	LossRatio   *float64 `json:"loss_ratio"`
	Bursts      int      `json:"loss_bursts"`
	Longest     int      `json:"longest_loss_burst"`
	Duplicated  uint64   `json:"duplicated"`
	Reordered   uint64   `json:"reordered"`
	Late        uint64   `json:"late"`
	NotMeasured float64  `json:"not_measured_seconds"`

	Samples   int            `json:"samples"`
	Base      *float64       `json:"base_ms"`
	RTT       *quantiles     `json:"rtt"`
	Mean      *float64       `json:"mean_ms"`
	StdDev    *float64       `json:"stddev_ms"`
	PDV       *quantiles     `json:"pdv"`
	IPDV      *quantiles     `json:"ipdv"`
	Jitter    *float64       `json:"rfc3550_jitter_ms"`
	IQR       *float64       `json:"iqr_ms"`
	Forward   *quantiles     `json:"forward"`
	Backward  *quantiles     `json:"backward"`
	Queue     *quantiles     `json:"own_queue"`
	Direction *stats.Segment `json:"direction"`

	Routes     int               `json:"route_changes"`
	ClockSteps int               `json:"clock_steps"`
	Impossible uint64            `json:"impossible_times"`
	TTLThere   *uint8            `json:"ttl_there"`
	TTLBack    *uint8            `json:"ttl_back"`
	CoS        *cos              `json:"class_of_service"`
	Direct     *direct           `json:"direct_measurement"`
	Dropped    map[string]uint64 `json:"dropped"`
	Missing    map[string]string `json:"missing"`
	Error      *string           `json:"error"`
}

// quantiles are stats.Quantiles in milliseconds.
type quantiles struct {
	Min  float64 `json:"min_ms"`
	P50  float64 `json:"p50_ms"`
	P90  float64 `json:"p90_ms"`
	P95  float64 `json:"p95_ms"`
	P99  float64 `json:"p99_ms"`
	P999 float64 `json:"p999_ms"`
	Max  float64 `json:"max_ms"`
}

func inMillis(q stats.Quantiles, known bool) *quantiles {
	return ifKnown(quantiles{Millis(q.Min), Millis(q.P50), Millis(q.P90), Millis(q.P95), Millis(q.P99), Millis(q.P999), Millis(q.Max)}, known)
}

// ifKnown is null in JSON unless v is known.
func ifKnown[T any](v T, known bool) *T {
	if !known {
		return nil
	}
	return &v
}

// MarshalJSON implements json.Marshaler.
func (r Report) MarshalJSON() ([]byte, error) {
	s, t, sampled := r.Summary, r.Totals, r.sampled()
	loss, lossKnown := t.Loss()
	d := document{
		Target: r.host(), Address: ifKnown(r.Addr.Addr().String(), r.Addr.IsValid()),
		Source:   ifKnown(probe.LocalName(r.Session.Local), r.Session.Local.IsValid() || r.Session.Local.Port() != 0),
		Protocol: string(r.Session.Protocol), SSID: ifKnown(r.SSID, r.Session.Protocol == "stamp"),
		Timestamps: ifKnown(r.Timestamps.String(), r.Timestamps != 0),
		From:       ifKnown(r.From.UTC().Format(time.RFC3339Nano), !r.From.IsZero()),
		To:         ifKnown(r.To.UTC().Format(time.RFC3339Nano), !r.To.IsZero()),
		RateAsked:  r.Asked(), RateAchieved: ifKnown(r.Rate(), r.Rate() > 0), RateKept: r.Kept(),
		Sent: t.Sent, Received: t.Received, Lost: t.Lost, InFlight: int64(t.Sent) - int64(t.Received) - int64(t.Lost),
		LossRatio: ifKnown(loss, lossKnown), Bursts: s.Bursts.Count, Longest: s.Bursts.Longest,
		Duplicated: t.Duplicated, Reordered: t.Reordered, Late: t.Late, NotMeasured: r.Blind.Seconds(),
		Samples: s.Samples, Base: ifKnown(Millis(s.Base), sampled), RTT: inMillis(s.RTT, sampled),
		Mean: ifKnown(Millis(s.Mean), sampled), StdDev: ifKnown(Millis(s.StdDev), sampled),
		PDV: inMillis(s.PDV, sampled), IPDV: inMillis(s.IPDV, s.Samples-s.Lost > 1),
		Jitter: ifKnown(Millis(s.Jitter), s.Samples-s.Lost > 1), IQR: ifKnown(Millis(s.IQR), sampled),
		Forward: inMillis(s.Forward, s.HasOneWay), Backward: inMillis(s.Backward, s.HasOneWay), Queue: inMillis(s.Queue, s.HasQueue),
		Direction: ifKnown(stats.Direction(s, threshold), sampled),
		Routes:    s.RouteChanges, ClockSteps: s.ClockSteps, Impossible: r.Impossible,
		TTLThere: ifKnown(r.TTLThere, r.TTLThere != 0), TTLBack: ifKnown(r.TTLBack, r.TTLBack != 0),
		CoS: r.cos(), Direct: r.direct(), Dropped: r.Drops.ByReason(), Missing: map[string]string{},
	}
	if why := r.noRTT(); why != "" {
		d.Missing["rtt"] = why
	}
	if why := r.noOneWay(); why != "" {
		d.Missing["one_way"] = why
	}
	if r.Err != nil {
		d.Error = ifKnown(r.Err.Error(), true)
	}
	return json.Marshal(d)
}
