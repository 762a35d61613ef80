package probe

import "testing"

// However fast answers come, they are not read for ever: meanwhile nothing is sent, and nothing
// of any session is told.
func TestAFloodIsNotReadForEver(t *testing.T) {
	read := 0
	upTo(mostBatches, func() bool { read++; return true })
	if read != mostBatches {
		t.Errorf("%d batches were read at once", read)
	}
	read = 0
	upTo(mostBatches, func() bool { read++; return read < 3 })
	if read != 3 {
		t.Errorf("%d batches were read of 3", read)
	}
}
