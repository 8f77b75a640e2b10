package ledger

import "hash/fnv"

// names is a Bloom filter of the pods that a block has segments of, by namespace and name: 8 bits for each, of which
// three are set, so that some 3 % of the blocks without a pod are looked at for it.
type names [blockEntries]byte

// bits are where a pod is.
func (n *names) bits(namespace, pod string) [3]uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(namespace)) // it never fails
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(pod))
	sum := h.Sum64()
	const size = 8 * uint64(len(n))
	step := sum>>32 | 1
	return [...]uint64{sum % size, (sum + step) % size, (sum + 2*step) % size}
}

func (n *names) add(namespace, pod string) {
	for _, b := range n.bits(namespace, pod) {
		n[b/8] |= 1 << (b % 8)
	}
}

func (n *names) may(namespace, pod string) bool {
	for _, b := range n.bits(namespace, pod) {
		if n[b/8]&(1<<(b%8)) == 0 {
			return false
		}
	}
	return true
}
