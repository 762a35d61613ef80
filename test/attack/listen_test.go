package attack

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/detnet/detnet/internal/await"
)

// roomy is what a program may take at most, in octets: three quarters of the
// chart's limit for the agents, half of that for the others.
var roomy = map[string]uint64{"metrics": 96 << 20, "controllers": 96 << 20, "admission": 256 << 20}

// Whoever reaches a listener can neither make its program grow beyond its limit
// on memory nor keep out those whom it serves, not even from their own address.
// The figures are what `make bench-attack` prints.
func TestListenersUnderAttack(t *testing.T) {
	file := buildVictim(t)
	for _, target := range []string{"metrics", "admission", "controllers"} {
		for _, a := range attacks {
			if a.against != "" && a.against != target {
				continue
			}
			t.Run(target+"/"+a.name, func(t *testing.T) {
				v := startVictim(t, file, target)
				before, _ := v.memory(t)
				var slowest time.Duration
				served, asked := 0, 0
				done := make(chan struct{})
				go func() {
					defer close(done)
					a.run(t, v)
				}()
				for attacked := false; !attacked; {
					select {
					case <-done:
						attacked = true
					default:
					}
					began := time.Now()
					err := v.serves()
					asked++
					if err == nil {
						served++
						slowest = max(slowest, time.Since(began))
					} else {
						t.Logf("not served: %v", err)
					}
				}
				after, peak := v.memory(t)
				t.Logf("%-12s %-24s peak %5.1f MiB (before %.1f, after %.1f), served %d of %d, slowest %v",
					target, a.name, mib(peak), mib(before), mib(after), served, asked, slowest.Round(time.Millisecond))
				if peak > roomy[target] {
					t.Errorf("it grew to %.1f MiB, of %.1f at most", mib(peak), mib(roomy[target]))
				}
				// A kubelet comes anew each time, and on a busy machine may be too
				// slow for a flood; others stay, and nothing disturbs them.
				if v.stays && served < asked || 2*served < asked {
					t.Errorf("served %d of %d calls from the attacker's own address", served, asked)
				}
				if err := v.serves(); err != nil {
					t.Errorf("after the attack: %v", err)
				}
			})
		}
	}
}

func mib(octets uint64) float64 { return float64(octets) / (1 << 20) }

// patience is for how long an answer is waited for, in time that the machine had.
const patience = 30 * time.Second

// get asks for url; anew as a kubelet does, with a connection for each request.
func get(c *http.Client, url string, anew bool) error {
	ctx, stop := await.Within(context.Background(), patience)
	defer stop()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.Close = anew
	answer, err := c.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, answer.Status)
	}
	return nil
}
