package rowmark

// Names is the number of numbers that texts have: they are below it.
const Names = 4096

// Unknown is the number of a mark that stands for a row, or the rest of one, of which the
// members are not known.
const Unknown = 0

// Mark says where a member begins. Marks of rows are in the order of the bytes.
type Mark struct {
	At   int32  // of the first byte of the name
	Name uint16 // of the text before the value; the same for equal texts, for most of the time
	Text uint16 // bytes of that text
}
