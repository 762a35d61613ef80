package program

import "strconv"

// memoryLimit is the environment's name for the limit on the container's memory, octets.
const memoryLimit = "DETNET_MEMORY_LIMIT"

// keepToMemory has Go's runtime keep to nine tenths of the container's limit on memory, if
// the environment tells it: the kernel counts what the runtime does not, such as the
// program's own pages and files that it has read, and kills at the whole. Who sets
// GOMEMLIMIT has said it better.
func keepToMemory(getenv func(string) string, set func(int64) int64) {
	octets, err := strconv.ParseInt(getenv(memoryLimit), 10, 64)
	if err != nil || octets <= 0 || getenv("GOMEMLIMIT") != "" {
		return
	}
	set(octets / 10 * 9)
}
