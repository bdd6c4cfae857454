// Kernels of stacked training: first layer on two-hot pairs, loss, optimiser steps.
#pragma once

#include "grokfast/kernels.hpp"

namespace grokfast {

// Constants of one Adam or SGD step that all members share; per-member values come as arrays of length E.
struct AdamConstants {
  double beta1, beta2, eps;
  double bias_correction1, bias_correction2;  // 1 - beta1^t, 1 - beta2^t
  bool decoupled;                             // AdamW: shrink the weights instead of adding decay to the gradient
};

// What mlp_epoch says of a member that has stopped for good.
constexpr uint8_t kStopped = 2;

// clang-format off
#define GROKFAST_TRAINING_KERNELS(DECLARE, T, SUFFIX, LAST) \
  /* In place on members with active[e] != 0; n parameters each; lr and decay are [E]. */ \
  DECLARE(adam_##SUFFIX, (T * p, const T* g, T* m, T* v, int64_t E, int64_t n, const double* lr, const double* decay, \
                          const uint8_t* active, AdamConstants constants, LAST)) \
  DECLARE(sgd_##SUFFIX, (T * p, const T* g, T* velocity, int64_t E, int64_t n, const double* lr, const double* decay, \
                         const uint8_t* active, double momentum, LAST)) \
  /* h[e,n,:] = relu(rows[e, pairs[e,n,0], :] + rows[e, P + pairs[e,n,1], :] + bias[e,:]); rows is [E, 2P, H] */ \
  DECLARE(two_hot_relu_##SUFFIX, (const T* rows, const T* bias, const int64_t* pairs, T* h, int64_t E, int64_t N, \
                                  int64_t P, int64_t H, LAST)) \
  /* Its backward: grad_rows [E, 2P, H] and grad_bias [E, H] from grad_h where h > 0. */ \
  DECLARE(two_hot_relu_backward_##SUFFIX, (const T* grad_h, const T* h, const int64_t* pairs, T* grad_rows, \
                                           T* grad_bias, int64_t E, int64_t N, int64_t P, int64_t H, LAST)) \
  /* loss[e]: mean over n of -log softmax(logits)[label]; correct[e]: argmax hits; grad (may be null): d loss[e]. */ \
  DECLARE(cross_entropy_##SUFFIX, (const T* logits, const int64_t* labels, T* loss, int64_t* correct, T* grad, \
                                   int64_t E, int64_t N, int64_t C, LAST)) \
  /* out, winners [E, N, O, H / 2, W / 2]: convolution with k x k weights [E, O, C, k, k], zero border of k / 2, bias */ \
  /* and ReLU, largest of each 2 x 2 window and its place in it (4: none is positive). Samples [N, C, H, W] of the next */ \
  /* member are x_step elements on. */ \
  DECLARE(conv_relu_pool_##SUFFIX, (const T* x, int64_t x_step, const T* weight, const T* bias, T* out, \
                                    uint8_t* winners, int64_t E, int64_t N, int64_t C, int64_t H, int64_t W, \
                                    int64_t O, int64_t k, LAST)) \
  /* Its backward; g_x may be null. */ \
  DECLARE(conv_relu_pool_backward_##SUFFIX, (const T* grad, const uint8_t* winners, const T* x, int64_t x_step, \
                                             const T* weight, T* g_x, T* g_weight, T* g_bias, int64_t E, int64_t N, \
                                             int64_t C, int64_t H, int64_t W, int64_t O, int64_t k, LAST)) \
  /* Loss and correct predictions [E] of softmax(relu(two-hot(pairs)) W^T + bias2); weight is [E, C, H]. Gradients, of */ \
  /* the shapes of their parameters, are written unless g_bias2 is null. */ \
  DECLARE(mlp_cross_entropy_##SUFFIX, (const T* rows, const T* bias1, const T* weight, const T* bias2, \
                                       const int64_t* pairs, const int64_t* labels, T* g_rows, T* g_bias1, \
                                       T* g_weight, T* g_bias2, T* loss, int64_t* correct, int64_t E, int64_t N, \
                                       int64_t P, int64_t H, int64_t C, LAST)) \
  /* An epoch in batches of `batch`, the last perhaps smaller, with Adam from step `step` on: parameters, and moments at */ \
  /* eight addresses, in place. Mean loss over the epoch and correct predictions. If something was not finite, status[e] */ \
  /* is 1 and member e as it was, or kStopped and the member as it was before a batch whose loss is not finite. What */ \
  /* belongs to a member with active[e] == 0 is not touched. */ \
  DECLARE(mlp_epoch_##SUFFIX, (T * rows, T * bias1, T * weight, T * bias2, const int64_t* moments, \
                               const int64_t* pairs, const int64_t* labels, const double* lr, const double* decay, \
                               const uint8_t* active, double* loss, int64_t* correct, uint8_t* status, \
                               AdamConstants constants, int64_t step, int64_t batch, int64_t E, int64_t N, int64_t P, \
                               int64_t H, int64_t C, LAST)) \
  /* The same loss and correct predictions without gradients, from active hidden units alone. */ \
  DECLARE(mlp_losses_##SUFFIX, (const T* rows, const T* bias1, const T* weight, const T* bias2, const int64_t* pairs, \
                                const int64_t* labels, T* loss, int64_t* correct, int64_t E, int64_t N, int64_t P, \
                                int64_t H, int64_t C, LAST)) \
  /* The same of K nested networks of each member, [E, K]: network k has the parameters whose arrival is at most k. */ \
  DECLARE(mlp_nested_##SUFFIX, (const T* rows, const T* bias1, const T* weight, const T* bias2, const int32_t* a_rows, \
                                const int32_t* a_bias1, const int32_t* a_weight, const int32_t* a_bias2, \
                                const int64_t* pairs, const int64_t* labels, T* loss, int64_t* correct, int64_t E, \
                                int64_t K, int64_t N, int64_t P, int64_t H, int64_t C, LAST)) \
  /* Loss, correct predictions and gradients of `convs` blocks of convolution, ReLU and pooling, then `linears` linear */ \
  /* layers. x: samples [N, C, height, width] of T, or of int8 if `bytes`, those of the next member x_step elements on. */ \
  /* Addresses of weight and bias of each layer in `params` and (if not null) `grads`; spec: outputs and kernel of each */ \
  /* convolution, outputs of each linear layer. On CUDA there are at most 16 layers; the three arrays lie on the host. */ \
  DECLARE(cnn_cross_entropy_##SUFFIX, (const void* x, bool bytes, int64_t x_step, const int64_t* params, \
                                       const int64_t* grads, const int64_t* spec, const int64_t* labels, T* loss, \
                                       int64_t* correct, int64_t E, int64_t N, int64_t convs, int64_t linears, \
                                       int64_t C, int64_t height, int64_t width, LAST))

// Those that CUDA alone has.
#define GROKFAST_CUDA_TRAINING_KERNELS(DECLARE, T, SUFFIX, LAST) \
  /* `count` (at most 64) epochs of such networks in batches of `batch`, the last perhaps smaller, with Adam from step */ \
  /* `step` on, and after each epoch whose bit is set in `tested` a test pass over M samples. Parameters and moments */ \
  /* (addresses as in `params`, first of all means, then of all squares) in place. [count, E]: mean loss and correct */ \
  /* predictions. From the epoch on in which a loss of member e is not finite, active[e] is 0, its answers are not */ \
  /* written, and it stays as it was before that batch or after that epoch. */ \
  DECLARE(cnn_epochs_##SUFFIX, (const void* x, bool bytes, int64_t x_step, const void* test_x, int64_t test_step, \
                                const int64_t* params, const int64_t* moments, const int64_t* spec, \
                                const int64_t* labels, const int64_t* test_labels, const double* lr, \
                                const double* decay, uint8_t* active, double* loss, int64_t* correct, \
                                double* test_loss, int64_t* test_correct, AdamConstants constants, int64_t step, \
                                int64_t count, uint64_t tested, int64_t batch, int64_t E, int64_t N, int64_t M, \
                                int64_t convs, int64_t linears, int64_t C, int64_t height, int64_t width, LAST))
// clang-format on

GROKFAST_DECLARE_KERNELS(GROKFAST_TRAINING_KERNELS)
GROKFAST_DECLARE_CUDA_KERNELS(GROKFAST_CUDA_TRAINING_KERNELS)

}  // namespace grokfast
