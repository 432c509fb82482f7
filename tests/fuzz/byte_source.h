#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace portolan::fuzz {

/// Turns a fuzzer's input into choices, byte by byte; at its end every choice is the first one.
class ByteSource {
 public:
  ByteSource(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  uint8_t Byte() { return at_ < size_ ? data_[at_++] : uint8_t{0}; }

  /// 0 <= choice < count <= 256.
  int Below(int count) { return Byte() % count; }

  /// Mostly false; true where a byte says so.
  bool Rarely() { return Byte() >= 240; }

  /// A small whole number, mostly; else something odd.
  double Number() {
    const uint8_t byte = Byte();
    switch (byte) {
      case 255:
        return -1;
      case 254:
        return 0.5;
      case 253:
        return 0x1p40;
      case 252:
        return -0x1p63;
      case 251:
        return 0x1p31;
      case 250:
        return 0.0 / zero_;
      default:
        return byte % 8;
    }
  }

  std::string Text() {
    std::string out(static_cast<size_t>(Below(6)), '\0');
    for (char& c : out) c = static_cast<char>(Byte());
    return out;
  }

 private:
  const uint8_t* data_;
  size_t size_;
  size_t at_ = 0;
  double zero_ = 0;
};

}  // namespace portolan::fuzz
