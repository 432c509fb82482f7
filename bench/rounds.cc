#include "bench/rounds.h"

#include <map>
#include <thread>

#include "bench/measure.h"

extern "C" void cblas_sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
                            const float* a, int lda, const float* b, int ldb, float beta, float* c,
                            int ldc);

namespace portolan::bench {

double Rate(int workers, double amount, const std::function<void(int worker)>& work) {
  const double seconds = Seconds([&] {
    std::vector<std::thread> threads;
    for (int w = 0; w < workers; ++w) threads.emplace_back(work, w);
    for (std::thread& thread : threads) thread.join();
  });
  return amount * workers / seconds;
}

double SgemmRate(int workers) {
  constexpr int kM = 128, kN = 2000, kK = 128, kLoops = 40;
  return Rate(workers, 2.0 * kM * kN * kK * kLoops, [](int) {
    std::vector<float> a(kM * kK, 0.5f);
    std::vector<float> b(kK * kN, 0.25f);
    std::vector<float> c(kM * kN);
    for (int i = 0; i < kLoops; ++i) {
      cblas_sgemm(101, 111, 111, kM, kN, kK, 1.0f, a.data(), kK, b.data(), kN, 0.0f, c.data(), kN);
    }
  });
}

void Rounds::Run(int rounds, Report& report) const {
  std::map<int, std::vector<double>> sgemm;
  std::vector<std::vector<double>> rates(measurements_.size());
  std::vector<std::vector<double>> floors(measurements_.size());
  for (int round = 0; round < rounds; ++round) {
    for (size_t i = 0; i < measurements_.size(); ++i) {
      const Measurement& m = measurements_[i];
      if (m.flops > 0) {
        sgemm[m.workers].push_back(SgemmRate(m.workers));
        floors[i].push_back(sgemm[m.workers].back() / m.flops);
      }
      rates[i].push_back(Rate(m.workers, m.amount, m.work));
    }
  }
  for (const auto& [workers, all] : sgemm) {
    report.Add({.name = "sgemm", .workers = workers, .value = Median(all), .unit = "flop/s"});
  }
  for (size_t i = 0; i < measurements_.size(); ++i) {
    const Measurement& m = measurements_[i];
    report.Add({.name = m.name,
                .workers = m.workers,
                .value = Median(rates[i]),
                .unit = m.unit,
                .peer = m.peer,
                .floor = floors[i].empty() ? 0 : Median(floors[i])});
  }
}

}  // namespace portolan::bench
