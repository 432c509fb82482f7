#pragma once

namespace portolan::bench {

/// Prints, as a Markdown table, how the time of a surgery grows with cells, genes, batches and
/// labels, one at a time from a middle shape. Both in seconds and per cell.
void PrintGrowth();

}  // namespace portolan::bench
