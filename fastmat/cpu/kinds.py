"""What reductions compute, as numbers that compiled code is handed. (Does not import Numba.)"""

# What is measured of a group: center and spread.
MOMENTS = 0  # mean, sum of squares of deviations from it
SQUARES = 1  # 0, sum of squares
MAGNITUDES = 2  # 0, sum of magnitudes
LARGEST = 3  # 0, largest magnitude

# What the spread of n numbers makes of eps: the factor of a normalized group.
MEAN_SPREAD = 0  # 1 / sqrt(spread / n + eps)
NORM = 1  # 1 / max(spread, eps)
ROOT_NORM = 2  # 1 / max(sqrt(spread), eps)

# What is made of the exponentials of a group.
SOFTMAX = 0  # exp(x) / sum(exp(x))
LOG_SOFTMAX = 1  # its logarithm
LOGSUMEXP = 2  # log(sum(exp(x)))

# What a gradient is of. The first four are (cotangent * weight - shift - standardized * slope)
# * factor, where standardized is (x - center) * factor, and differ in shift and slope.
CENTERED = 0  # of x minus its mean over its deviation
SCALED = 1  # of x over its root mean square
GIVEN = 2  # of x standardized by statistics that do not depend on it
OF_NORM = 3  # of x over its Euclidean norm
OF_MAGNITUDES = 4  # of x over the sum of its magnitudes
OF_LARGEST = 5  # of x over its largest magnitude, which is the center
OF_SOFTMAX = 6  # x is the result
OF_LOG_SOFTMAX = 7  # x is the result
OF_LOGSUMEXP = 8  # the center is the result

# What is added up of the valid numbers of a group.
VALUES = 0  # the numbers
TIES = 1  # 1 for each that equals the center

# What the gradient of a masked reduction is by a valid number of a group.
ALIKE = 0  # factor
DEVIATIONS = 1  # factor * (x - center)
EXTREMES = 2  # factor where x equals the center
